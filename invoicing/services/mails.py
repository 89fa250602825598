"""Send issued invoices by mail: a row with its cause, then tries of the worker until it is out.

A mail cannot be taken back and its answer can be lost. Each try is claimed on the row before
anything is sent, so that two workers never send one try twice; what was sent without our hearing of
it is sent again under the same Message-ID, which mail programs show once.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parseaddr
from smtplib import SMTPRecipientsRefused
from typing import TypeGuard

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import F, QuerySet

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from invoicing.documents import invoice_data
from invoicing.mailing import (
    MOST_TRIES,
    Said,
    is_refused_for_good,
    next_try,
    subject,
    text,
)
from invoicing.models import Invoice, InvoiceMail, InvoiceStatus
from invoicing.selectors import is_issued
from invoicing.selectors.writing import writer_of
from invoicing.services.documents import keep_document
from invoicing.services.links import link_to, url_of
from invoicing.services.locks import require_permission

log = logging.getLogger(__name__)
_CUT_OFF = "the last try ended without an answer: see the worker's log"
_LONGEST_FAILURE = 300
_LEASE = timedelta(minutes=15)  # No send lasts as long; a worker that died in one is found then.


def mail_issued(invoice: Invoice, by: User, at: datetime) -> None:
    """Queue the mail of an invoice that is being issued, in its transaction.

    None where mails are off (`MAIL_INVOICES`) or the customer has no address.
    """
    address = invoice.customer.email
    if settings.MAIL_INVOICES and address:
        _queue(invoice, address, "issued", by, at)


@transaction.atomic
def ask_for_mail(
    *, invoice: Invoice, key: str, by: User, at: datetime, address: str = ""
) -> InvoiceMail:
    """Queue a mail that somebody asks for; the same key again is the same mail.

    Args:
        address: Whom to; the customer's own address if empty.

    Raises:
        NotAllowed: a person without the permission.
        Conflict: a draft or a void invoice is not sent; or the key came with another address.
        Invalid: there is no address, or it is none.
    """
    require_permission(by, "invoicing.send_invoicemail", "send invoices")
    if not is_issued(invoice) or invoice.status == InvoiceStatus.VOID:
        raise Conflict("only an issued invoice is sent, and none that is void")
    wanted = address or invoice.customer.email
    if not wanted:
        raise Invalid(f"{invoice.customer} has no address for mail: name one", field="address")
    try:
        validate_email(wanted)
    except ValidationError as error:
        raise Invalid(f"{wanted!r} is no address for mail", field="address") from error
    mail = _queue(invoice, wanted, f"asked:{key}", by, at)
    if mail.address != wanted:
        raise Conflict("this key came with another address before", code="idempotency_conflict")
    return mail


def _queue(invoice: Invoice, address: str, cause: str, by: User, at: datetime) -> InvoiceMail:
    mail, is_new = InvoiceMail.objects.get_or_create(
        source_key=f"invoice:{invoice.pk}:{cause}",
        defaults={
            "invoice": invoice, "address": address, "queued_at": at, "queued_by": by,
            "next_try_at": at,
        },
    )  # fmt: skip
    if is_new:
        audit.record(by=by, at=at, action="queue_invoice_mail", subject=mail)
    return mail


def send_due_mails(
    *, by: User, now: Callable[[], datetime], is_over: Callable[[], bool] = lambda: False
) -> int:
    """Try each mail whose time has come; return how many went out.

    Call it outside a transaction: it waits for the network. While no server can be reached nothing
    is tried, and no try is used up.
    """
    due = InvoiceMail.objects.filter(next_try_at__lte=now()).order_by("next_try_at", "id")
    ids = list(due.values_list("pk", flat=True))
    if not ids:
        return 0
    lost: list[int] = []  # The mail that found our own server gone; those behind it wait.
    try:
        with get_connection() as server:
            tries = (pk for pk in ids if not lost and not is_over())
            return each_apart(tries, lambda pk: _try(pk, server, by, now(), lost), step="mail")
    except OSError as error:  # smtplib's errors are OSErrors.
        log.error("mail_server_away", extra={"reason": str(error), "waiting": len(ids)})
        return 0


def _try(pk: int, server: BaseEmailBackend, by: User, at: datetime, lost: list[int]) -> int:
    """Try one mail if nobody else does; return 1 if it went out.

    It is written before the try is claimed: what cannot be written uses no try up.
    """
    mail = InvoiceMail.objects.select_related("invoice__customer").get(pk=pk)
    if mail.next_try_at is None or mail.next_try_at > at:
        return 0  # Somebody else has it.
    if mail.invoice.status == InvoiceStatus.VOID:
        return _give_up(mail, "the invoice became void before it was sent", at)
    if mail.attempts >= MOST_TRIES:
        return _give_up(mail, mail.failure or _CUT_OFF, at)
    message = _message(mail, server, by, at)
    if not _claim(mail, at):
        return 0
    try:
        server.send_messages([message])
    except OSError as error:
        server.close()
        if not _is_there(server):
            lost.append(pk)
            _open(mail).update(attempts=mail.attempts, next_try_at=at, failure=_cut(error))
            return 0
        return _failed(mail, error, at)
    _open(mail).update(sent_at=at, next_try_at=None, failure="")
    return 1


def _claim(mail: InvoiceMail, at: datetime) -> bool:
    """Take the next try of a mail for longer than a send can last, if it is as it was read."""
    as_read = _open(mail).filter(attempts=mail.attempts, next_try_at=mail.next_try_at)
    return as_read.update(attempts=F("attempts") + 1, next_try_at=at + _LEASE) == 1


def _open(mail: InvoiceMail) -> QuerySet[InvoiceMail]:
    return InvoiceMail.objects.filter(pk=mail.pk, sent_at=None, given_up_at=None)


def _failed(mail: InvoiceMail, error: OSError, at: datetime) -> int:
    """Keep why a try failed; give up after the last one, or where the address is refused."""
    replies = [code for code, _ in error.recipients.values()] if _is_refusal(error) else []
    log.error("invoice_mail_not_sent", extra={"mail": mail.pk, "reason": str(error)})
    again = next_try(mail.attempts + 1, at)
    if again is None or is_refused_for_good(replies):
        return _give_up(mail, str(error), at)
    _open(mail).update(next_try_at=again, failure=_cut(error))
    return 0


def _is_there(server: BaseEmailBackend) -> bool:
    """Tell whether our own mail server can be reached."""
    try:
        server.open()
    except OSError:
        return False
    return True


def _cut(error: OSError) -> str:
    return str(error)[:_LONGEST_FAILURE]


def _is_refusal(error: OSError) -> TypeGuard[SMTPRecipientsRefused]:
    return isinstance(error, SMTPRecipientsRefused)


def _give_up(mail: InvoiceMail, why: str, at: datetime) -> int:
    _open(mail).update(given_up_at=at, next_try_at=None, failure=why[:_LONGEST_FAILURE])
    return 0


def _message(mail: InvoiceMail, server: BaseEmailBackend, by: User, at: datetime) -> EmailMessage:
    """Write one mail, with the kept document and a link to the page."""
    invoice = mail.invoice
    shown = invoice_data(invoice)
    said = Said(
        customer=invoice.customer.name, seller=invoice.seller_name,
        url=url_of(link_to(invoice=invoice, by=by, at=at)),
        is_paid=invoice.open_minor == 0, open=writer_of(invoice).money(invoice.open_minor),
        **{name: str(shown[name]) for name in ("number", "issued", "total", "due")},
    )  # fmt: skip
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    message = EmailMessage(
        subject(said), text(said), to=[mail.address], connection=server,
        headers={"Message-ID": f"<invoice-mail-{mail.pk}@{domain}>"},
    )  # fmt: skip
    document = keep_document(subject=invoice, at=at)
    message.attach(f"{invoice.number}.pdf", bytes(document.content), "application/pdf")
    return message
