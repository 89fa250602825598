"""Make, read and revoke the links under which customers see their invoices without a login."""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, NotFound
from billing_project.kernel.models import User
from invoicing.models import HostedLink, Invoice
from invoicing.selectors import is_issued
from invoicing.services.locks import lock_invoice, require_permission

_SALT = "invoicing.hosted_link"


@transaction.atomic
def link_to(*, invoice: Invoice, by: User, at: datetime) -> HostedLink:
    """Return a link to an invoice's page that still lasts for half of its days, or a new one.

    Raises:
        NotAllowed: a person without the permission.
        Conflict: a draft has no page.
    """
    require_permission(by, "invoicing.send_invoicemail", "send invoices")
    if not is_issued(invoice):
        raise Conflict("a draft has no page for its customer: finalize it first")
    lock_invoice(invoice)  # Neither two at once, nor one while all are revoked.
    days = timedelta(days=settings.HOSTED_LINK_DAYS)
    standing = HostedLink.objects.filter(
        invoice=invoice, revoked_at=None, expires_at__gte=at + days / 2
    ).first()
    if standing is not None:
        return standing
    link = HostedLink.objects.create(invoice=invoice, made_at=at, made_by=by, expires_at=at + days)
    audit.record(by=by, at=at, action="link_to", subject=link)
    return link


def url_of(link: HostedLink) -> str:
    """Return a link's address; whoever has it can read the invoice: never log it."""
    return f"{settings.PUBLIC_URL.rstrip('/')}/invoice/{token_of(link)}"


def token_of(link: HostedLink) -> str:
    """Return the part of a link's address that names and proves it."""
    return Signer(salt=_SALT).sign(str(link.pk))


def find_link(token: str, at: datetime) -> HostedLink:
    """Return the link that a token proves.

    Raises:
        NotFound: nobody here made it.
        Conflict: it has expired or was revoked.
    """
    try:
        pk = int(Signer(salt=_SALT).unsign(token))
    except (BadSignature, ValueError) as error:
        raise NotFound("this link was not made here") from error
    link = HostedLink.objects.select_related("invoice__customer").filter(pk=pk).first()
    if link is None:  # Of a database that is gone.
        raise NotFound("this link was not made here")
    if link.revoked_at is not None or link.expires_at <= at:
        raise Conflict("this link is not valid any more", code="link_ended")
    return link


@transaction.atomic
def revoke_links(*, invoice: Invoice, reason: str, by: User, at: datetime) -> int:
    """End all links to an invoice before their time; a mail that is sent later carries a new one.

    Returns:
        Links ended.

    Raises:
        NotAllowed: a person without the permission.
        Conflict: none stands.
    """
    require_permission(by, "invoicing.revoke_hostedlink", "revoke links to invoices")
    lock_invoice(invoice)  # No link is made meanwhile.
    links = HostedLink.objects.filter(invoice=invoice, revoked_at=None, expires_at__gt=at)
    standing = list(links.order_by("pk"))
    if not standing:
        raise Conflict(f"no link to {invoice} stands")
    for link in standing:
        link.revoked_at, link.revoked_by, link.revoke_reason = at, by, reason
        link.save(update_fields=["revoked_at", "revoked_by", "revoke_reason"])
        audit.record(by=by, at=at, action="revoke_link", subject=link, reason=reason)
    return len(standing)
