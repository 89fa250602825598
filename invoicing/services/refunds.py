"""Record refunds that notes promise, as they were made at the bank or the payment provider.

A refund that fails later is the customer's balance from then on, and pays their next invoices.
"""

from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Insufficient, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from invoicing.models import CreditNote, Refund, RefundFailure
from invoicing.selectors import refund_left
from invoicing.services.locks import lock_invoice, require_permission

_LONGEST_KEY = 120


@transaction.atomic
def record_refund(
    *,
    credit_note: CreditNote,
    amount_minor: int,
    method: str,
    reference: str,
    refunded_at: datetime,
    key: str,
    by: User,
    at: datetime,
) -> Refund:
    """Record money that went back to the customer for a note.

    Args:
        amount_minor: > 0, at most what the note still has to refund.
        method: "bank_transfer".
        reference: What the bank or the payment provider calls it.
        key: The caller's idempotency key; the same again returns the same refund.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no amount, method, reference or key, or a refund in the future.
        IdempotencyConflict: the key recorded something else before.
        Conflict: another key recorded this reference before.
        Insufficient: the note has less to refund; the message says how much.
    """
    require_permission(by, "invoicing.record_refund", "record refunds")
    _refuse_incomplete(amount_minor, method, reference, key)
    if refunded_at > at:
        raise Invalid("a refund is recorded once it was made, not before", field="refunded_at")
    invoice = lock_invoice(credit_note.invoice)
    wanted = Refund(
        credit_note=credit_note,
        amount_minor=amount_minor,
        currency=credit_note.currency,
        refunded_at=refunded_at,
        method=method,
        reference=reference,
        recorded_by=by,
        recorded_at=at,
        source_key=key,
    )
    before = Refund.objects.filter(source_key=key).first()
    if before is not None:
        return _same_refund(before, wanted)
    _refuse_too_much(credit_note, wanted)
    return _keep(wanted, invoice.customer_id)


@transaction.atomic
def record_refund_failure(
    *, refund: Refund, reason: str, failed_at: datetime, by: User, at: datetime
) -> RefundFailure:
    """Record that a refund came back; its amount becomes the customer's balance, once.

    Args:
        reason: What the bank or the payment provider says.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no reason, or a failure before its refund or in the future.
        IdempotencyConflict: it failed before for another reason.
    """
    require_permission(by, "invoicing.record_refund", "record that refunds failed")
    if not 0 < len(reason.strip()) <= 500:
        raise Invalid("a failed refund has a reason of up to 500 characters", field="reason")
    if not refund.refunded_at <= failed_at <= at:
        raise Invalid("a refund fails after it was made, and not in the future", field="failed_at")
    invoice = lock_invoice(refund.credit_note.invoice)
    before = RefundFailure.objects.filter(refund=refund).first()
    if before is not None:
        if before.reason != reason:
            raise IdempotencyConflict(f"{refund} failed before: {before.reason}")
        return before
    failure = RefundFailure.objects.create(
        refund=refund, failed_at=failed_at, reason=reason, recorded_by=by, recorded_at=at
    )
    outbox.publish("money_changed", [invoice.customer_id], at)
    audit.record(
        by=by, at=at, action="record_refund_failure", subject=failure, reason=reason,
        reference=refund.reference, amount_minor=refund.amount_minor, currency=refund.currency,
    )  # fmt: skip
    return failure


def _refuse_incomplete(amount_minor: int, method: str, reference: str, key: str) -> None:
    if amount_minor <= 0:
        raise Invalid("a refund is more than nothing", field="amount")
    if not (0 < len(method.strip()) <= 32 and 0 < len(reference.strip()) <= 100):
        raise Invalid("a refund has a method (up to 32 characters) and a reference (up to 100)")
    if not 0 < len(key) <= _LONGEST_KEY:
        raise Invalid(f"a refund's key has 1 to {_LONGEST_KEY} characters")


def _refuse_too_much(note: CreditNote, wanted: Refund) -> None:
    if note.refunds.filter(method=wanted.method, reference=wanted.reference).exists():
        raise Conflict(f"{wanted.reference} was recorded for {note} before", field="reference")
    left = refund_left(note)
    if wanted.amount_minor > left:
        has = Money(left, note.currency)
        raise Insufficient(f"{note} has {has} left to refund", field="amount")


def _keep(refund: Refund, customer_id: int) -> Refund:
    """Store a refund, and tell of it."""
    by, at = refund.recorded_by, refund.recorded_at
    refund.save(force_insert=True)
    outbox.publish("money_changed", [customer_id], at)
    audit.record(
        by=by, at=at, action="record_refund", subject=refund, method=refund.method,
        credit_note=refund.credit_note.number, amount_minor=refund.amount_minor,
        currency=refund.currency, reference=refund.reference,
    )  # fmt: skip
    return refund


def _same_refund(before: Refund, wanted: Refund) -> Refund:
    names = ("credit_note_id", "amount_minor", "method", "reference", "refunded_at")
    if any(getattr(before, name) != getattr(wanted, name) for name in names):
        raise IdempotencyConflict("this key recorded another refund before")
    return before
