"""Accept payments that fall short by no more than finance approved (rule 32)."""

from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.content import Content, minor_in, refuse_missing, text_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import is_currency
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from invoicing.models import InvoiceStatus, Payment, PaymentTolerance, ShortPayment
from invoicing.selectors.tolerances import TOLERANCE, content_of_tolerance, tolerance_at

_LARGEST = 10_000  # Minor units: a difference of rounding, and no discount.
_OF_WHAT_CAME = 10  # A payment falls short by a tenth of what came at most, however small it is.


@transaction.atomic
def propose_payment_tolerance(
    *, currency: str, most_minor: int, proposal: Proposal, by: User, at: datetime
) -> PaymentTolerance:
    """Write a version of how much payments may fall short; it governs once finance approved it.

    Args:
        most_minor: 0 to 10,000 minor units; 0 accepts nothing any more.

    Raises:
        Invalid: no such currency, or an amount out of bounds.
    """
    if not is_currency(currency):
        raise Invalid(f"{currency} is no currency", field="currency")
    if not 0 <= most_minor <= _LARGEST:
        raise Invalid(f"a tolerance is 0 to {_LARGEST} minor units", field="most_minor")
    wait_for(f"{TOLERANCE}:{currency}")
    number = next_number(PaymentTolerance.objects.filter(currency=currency))
    version = PaymentTolerance(currency=currency, number=number, most_minor=most_minor)
    return propose_version(
        version,
        kind=TOLERANCE,
        subject=f"{TOLERANCE}:{currency}:{number}",
        content=content_of_tolerance(version),
        proposal=proposal,
        by=by,
        at=at,
    )


def accept_short_payment(payment: Payment) -> ShortPayment | None:
    """Let a payment pay its invoice where it fell short by no more than is tolerated.

    Nor by more than a tenth of what came: a tolerance pays no invoice that is hardly above it.
    Once for an invoice: one that a void of a note opened again is paid to the last unit. Call it in
    the payment's transaction, under the invoice's lock, with the invoice as it is now.
    """
    invoice, at = payment.invoice, payment.recorded_at
    if payment.is_recovery or invoice.status != InvoiceStatus.FINALIZED:
        return None
    if ShortPayment.objects.filter(invoice=invoice).exists():
        return None
    tolerance = tolerance_at(invoice.currency, at)
    if tolerance is None or invoice.open_minor > tolerance.most_minor:
        return None
    if invoice.open_minor * _OF_WHAT_CAME > invoice.paid_minor + invoice.applied_minor:
        return None
    row = ShortPayment.objects.create(
        invoice=invoice, payment=payment, tolerance=tolerance, amount_minor=invoice.open_minor,
        currency=invoice.currency, accepted_at=at,
    )  # fmt: skip
    invoice.refresh_from_db(fields=["status", "open_minor"])
    audit.record(
        by=payment.recorded_by, at=at, action="accept_short_payment", subject=row,
        invoice=invoice.number, amount_minor=row.amount_minor, currency=row.currency,
    )  # fmt: skip
    return row


@materialise(TOLERANCE, {"currency": "EUR", "most_minor": 5})
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(content, "currency", "most_minor")
    propose_payment_tolerance(
        currency=text_in(content, "currency"), most_minor=minor_in(content, "most_minor"),
        proposal=proposal, by=by, at=at,
    )  # fmt: skip
