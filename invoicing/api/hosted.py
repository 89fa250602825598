"""The page where a customer sees an invoice: by a signed link, without a login, nothing to change.

It shows what the invoice claims and what became of it, and gives its documents. It is HTML, outside
/v1, and answers nothing that the link's invoice does not own.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from billing_project.kernel import clock
from billing_project.kernel.errors import BillingError, Conflict, NotFound
from billing_project.kernel.pdf import pdf_response
from billing_project.kernel.users import worker_user
from invoicing.api.hosted_data import page_data
from invoicing.models import HostedLink, InvoiceStatus
from invoicing.selectors import find_credit_note
from invoicing.services.documents import keep_document
from invoicing.services.links import find_link, token_of
from invoicing.stripe_sync.collecting import is_being_collected, is_beyond_stripe
from invoicing.stripe_sync.gateway import is_on
from invoicing.stripe_sync.pages import card_page

_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'"


def _by_link(answer: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer under a valid link only, and let nobody keep, index or refer to the address."""

    @wraps(answer)
    def view(request: HttpRequest, token: str, **named: str) -> HttpResponse:
        try:
            _refuse_nul(named.values())
            link = find_link(token, clock.now())
        except NotFound:
            response = _ended(request, 404)
        except Conflict:
            response = _ended(request, 410)
        else:
            response = answer(request, link, **named)
        return _guarded(response)

    return view


def _refuse_nul(parts: Iterable[str]) -> None:
    """Find nothing under an address that holds a NUL: PostgreSQL's text takes none."""
    if any("\x00" in part for part in parts):
        raise NotFound("nothing has such an address")


def _guarded(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "private, no-store"
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex, nofollow"
    response["Content-Security-Policy"] = _POLICY
    return response


@require_safe
@_by_link
def invoice_page(request: HttpRequest, link: HostedLink) -> HttpResponse:
    """Show an invoice as it stands now."""
    return _page(request, link)


@require_safe
@_by_link
def invoice_document(request: HttpRequest, link: HostedLink) -> HttpResponse:
    """Give the invoice's document: the bytes that were kept when it was first asked for."""
    kept = keep_document(subject=link.invoice, at=clock.now())
    return pdf_response(kept, str(link.invoice.number))


@require_safe
@_by_link
def note_document(request: HttpRequest, link: HostedLink, number: str) -> HttpResponse:
    """Give the document of a credit note on this invoice, and of no other."""
    try:
        note = find_credit_note(number)
    except NotFound:
        return _ended(request, 404)
    if note.invoice_id != link.invoice_id:
        return _ended(request, 404)
    kept = keep_document(subject=note, at=clock.now())
    return pdf_response(kept, note.number)


@csrf_exempt
@require_POST
@_by_link
def pay_by_card(request: HttpRequest, link: HostedLink) -> HttpResponse:
    """Send the customer to a page of Stripe's own, where they type a card that is charged then.

    The link is what authorises it, and no cookie: without a referrer a browser names no origin.
    """
    if not _is_payable(link):
        return _page(request, link)
    try:
        address = card_page(customer=link.invoice.customer, by=worker_user(), at=clock.now())
    except BillingError:
        return _page(request, link, status=503)
    return HttpResponseRedirect(address)


def _is_payable(link: HostedLink) -> bool:
    """Tell whether a card would be charged for it: what was given up, or is odd to Stripe, is not.

    A card becomes the account's, so that none is typed on a workspace's page.
    """
    invoice = link.invoice
    is_collected = invoice.status == InvoiceStatus.FINALIZED and not is_beyond_stripe(invoice)
    return is_collected and invoice.workspace_id is None


def _page(request: HttpRequest, link: HostedLink, status: int = 200) -> HttpResponse:
    at = clock.now()
    is_charging = is_on() and is_being_collected(link.invoice, at)
    context: dict[str, Any] = {
        **page_data(link.invoice, at),
        "token": token_of(link),
        "is_charging": is_charging,
        "can_pay": is_on() and _is_payable(link) and not is_charging,
        "is_away": status == 503,
    }
    return render(request, "hosted/invoice.html", context, status=status)


def _ended(request: HttpRequest, status: int) -> HttpResponse:
    context = {"seller": settings.SELLER, "is_over": status == 410}
    return render(request, "hosted/ended.html", context, status=status)


@require_safe
def back_from_card(request: HttpRequest) -> HttpResponse:
    """Thank whoever comes back from Stripe's page; it names no invoice, for no link went there."""
    response = render(request, "hosted/back.html", {"seller": settings.SELLER})
    return _guarded(response)


urlpatterns = [
    path("back", back_from_card, name="hosted_back"),
    path("<str:token>", invoice_page, name="hosted_invoice"),
    path("<str:token>/document.pdf", invoice_document, name="hosted_document"),
    path("<str:token>/notes/<str:number>.pdf", note_document, name="hosted_note"),
    path("<str:token>/card", pay_by_card, name="hosted_card"),
]
