"""Tell customers by mail that a payment failed, when it is tried again, and where to mend it."""

import logging
from datetime import datetime

from django.core.mail import send_mail
from django.db.models import QuerySet

from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import User
from billing_project.kernel.sessions import held
from invoicing.models import AttemptState, InvoiceStatus, PaymentAttempt
from invoicing.selectors.writing import writer_of
from invoicing.stripe_sync.pages import card_page

log = logging.getLogger(__name__)


def untold_declines() -> QuerySet[PaymentAttempt]:
    """List declines that the customer was not told of, of invoices that are still owed."""
    return (
        PaymentAttempt.objects.filter(
            state=AttemptState.DECLINED, told_at=None, invoice__status=InvoiceStatus.FINALIZED
        )
        .exclude(invoice__customer__email="")
        .select_related("invoice__customer")
        .order_by("id")
    )


def mail_declines(*, by: User, at: datetime) -> int:
    """Mail each decline to its customer, once; return how many mails went out.

    Call it outside a transaction: it waits for the network. A mail that fails, or whose page
    cannot be made now, is left to the next call.
    """
    sent = 0
    with held("mail_declines") as is_ours:
        for attempt in untold_declines() if is_ours else ():
            page = _page(attempt, by, at)
            if page and _is_sent(attempt, page):
                attempt.told_at = at
                attempt.save(update_fields=["told_at"])
                sent += 1
    return sent


def _page(attempt: PaymentAttempt, by: User, at: datetime) -> str:
    """Return the address of a hosted page for another card; "" where Stripe makes none now."""
    try:
        return card_page(customer=attempt.invoice.customer, by=by, at=at)
    except BillingError as error:
        log.warning("dunning_without_page", extra={"attempt": attempt.pk, "reason": str(error)})
        return ""


def _is_sent(attempt: PaymentAttempt, page: str) -> bool:
    invoice = attempt.invoice
    try:
        send_mail(
            f"Payment of invoice {invoice.number} failed", mail_text(attempt, page), None,
            [invoice.customer.email],
        )  # fmt: skip
    except OSError as error:  # Refused, unreachable, timed out; smtplib's errors are OSErrors.
        log.error("dunning_not_sent", extra={"attempt": attempt.pk, "reason": str(error)})
        return False
    return True


def mail_text(attempt: PaymentAttempt, page: str) -> str:
    """Write the mail of one decline."""
    invoice = attempt.invoice
    writer = writer_of(invoice)
    amount = writer.money(attempt.amount_minor)
    then = (
        f"We will try again on {writer.local_day(attempt.retry_at)}."
        if attempt.retry_at
        else "We will not try this card again; the invoice stays open until it is paid."
    )
    return (
        f"Dear {invoice.customer.name},\n\n"
        f"your payment of {amount} for invoice {invoice.number} was declined"
        f" ({attempt.failure_code.replace('_', ' ')}). {then}\n\n"
        f"You can use another card here within a day; it is charged at once:\n{page}\n\n"
        f"{invoice.seller_name}\n"
    )
