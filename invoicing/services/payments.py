"""Record money that a customer paid for an invoice."""

from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Insufficient, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from invoicing.models import Invoice, InvoiceStatus, Payment
from invoicing.selectors import is_issued, refuse_void
from invoicing.services.announcing import announce_if_paid
from invoicing.services.granting import issue_pack_grants
from invoicing.services.locks import lock_invoice, require_permission
from invoicing.services.tolerances import accept_short_payment


@transaction.atomic
def record_payment(
    *,
    invoice: Invoice,
    amount_minor: int,
    method: str,
    reference: str,
    paid_at: datetime,
    by: User,
    at: datetime,
) -> Payment:
    """Record a payment; with the last one, credits sold by the invoice are granted.

    One that falls short within the approved tolerance is the last one; one for an invoice that was
    written off is a recovery. The method and reference name it: the same again returns its row.

    Args:
        amount_minor: > 0, at most what the invoice still owes.
        method: "bank_transfer".
        paid_at: When the money came; credits sold are effective from then.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no amount, method or reference, or a payment in the future.
        IdempotencyConflict: this payment was recorded with another amount.
        Conflict: the invoice is a draft, or void.
        Insufficient: the invoice owes less.
    """
    require_permission(by, "invoicing.record_payment", "record payments")
    _refuse_incomplete(amount_minor, method, reference)
    if paid_at > at:
        raise Invalid("a payment is recorded once the money came, not before")
    locked = lock_invoice(invoice)
    same = locked.payments.filter(method=method, reference=reference).first()
    if same is not None:
        return _same_payment(same, amount_minor)
    _refuse_too_much(locked, amount_minor)
    payment = Payment(
        invoice=locked,
        amount_minor=amount_minor,
        currency=locked.currency,
        paid_at=paid_at,
        method=method,
        reference=reference,
        is_recovery=locked.status == InvoiceStatus.UNCOLLECTIBLE,
        recorded_by=by,
        recorded_at=at,
    )
    return _take_in(payment)


def _take_in(payment: Payment) -> Payment:
    """Store a payment with all that follows from it."""
    invoice, by, at = payment.invoice, payment.recorded_by, payment.recorded_at
    payment.save(force_insert=True)
    invoice.refresh_from_db(fields=["status", "paid_minor", "open_minor", "written_off_minor"])
    accept_short_payment(payment)
    issue_pack_grants(invoice=invoice, effective_at=payment.paid_at, by=by, at=at)
    outbox.publish("money_changed", [invoice.customer_id], at)
    audit.record(
        by=by, at=at, action="record_payment", subject=payment, invoice=invoice.number,
        amount_minor=payment.amount_minor, currency=invoice.currency,
    )  # fmt: skip
    announce_if_paid(invoice, at)
    return payment


def _refuse_incomplete(amount_minor: int, method: str, reference: str) -> None:
    if amount_minor <= 0:
        raise Invalid("a payment is more than nothing")
    if not (0 < len(method.strip()) <= 32 and 0 < len(reference.strip()) <= 100):
        raise Invalid("a payment has a method (up to 32 characters) and a reference (up to 100)")


def _refuse_too_much(invoice: Invoice, amount_minor: int) -> None:
    if not is_issued(invoice):
        raise Conflict("a draft is not owed yet: finalize it first")
    refuse_void(invoice)
    owed = invoice.open_minor + invoice.written_off_minor  # Never both.
    if amount_minor > owed:
        still = Money(owed, invoice.currency)
        raise Insufficient(f"{invoice.number} has {still} open, less than the payment")


def _same_payment(payment: Payment, amount_minor: int) -> Payment:
    if payment.amount_minor != amount_minor:
        recorded = Money(payment.amount_minor, payment.currency)
        raise IdempotencyConflict(f"{payment.reference} was recorded with {recorded} before")
    return payment
