"""Record refunds of notes and balances, as they were made at the bank or the payment provider.

A refund that fails later is the customer's balance from then on, and pays their next invoices.
"""

from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Insufficient, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from invoicing.models import CreditNote, CustomerBalance, Dispute, Invoice, Refund, RefundFailure
from invoicing.selectors import balance_in, refund_left
from invoicing.selectors.settlement import BY_BANK, balance_by_banks, refunded_by_banks
from invoicing.services.locks import lock_invoice, require_permission
from metering.services.customers import lock_customer

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
        Invalid: no amount, method, reference or key, or a refund in the future; or of a dispute.
        IdempotencyConflict: the key recorded something else before.
        Conflict: another key recorded this reference before.
        Insufficient: the note has less to refund; the message says how much.
    """
    require_permission(by, "invoicing.record_refund", "record refunds")
    _refuse_dispute(method)
    invoice = lock_invoice(credit_note.invoice)
    return _once(
        Refund(
            customer_id=invoice.customer_id, credit_note=credit_note, amount_minor=amount_minor,
            currency=credit_note.currency, refunded_at=refunded_at, method=method,
            reference=reference, recorded_by=by, recorded_at=at, source_key=key,
        )
    )  # fmt: skip


@transaction.atomic
def record_balance_refund(
    *,
    balance: CustomerBalance,
    amount_minor: int,
    method: str,
    reference: str,
    refunded_at: datetime,
    key: str,
    by: User,
    at: datetime,
) -> Refund:
    """Record money that went back to the customer out of their balance.

    Args:
        amount_minor: > 0, at most the balance.
        key: The caller's idempotency key; the same again returns the same refund.

    Raises:
        NotAllowed, Invalid, IdempotencyConflict, Conflict: as for `record_refund`.
        Insufficient: the balance is less; the message says how much.
    """
    require_permission(by, "invoicing.record_refund", "record refunds")
    _refuse_dispute(method)
    customer = lock_customer(balance.customer_id)
    return _once(
        Refund(
            customer=customer, amount_minor=amount_minor, currency=balance.currency,
            refunded_at=refunded_at, method=method, reference=reference, recorded_by=by,
            recorded_at=at, source_key=key,
        )
    )  # fmt: skip


def refund_by_bank(*, dispute: Dispute, decided_at: datetime, by: User, at: datetime) -> int:
    """Count what is owed back as refunded, as far as a lost dispute gave the money back.

    Refunds that notes promise come first; then what the invoice left on the balance. Call it once,
    under the customer's lock, when the verdict is there.

    Returns:
        Minor units.
    """
    invoice = Invoice.objects.get(pk=dispute.invoice_id)
    left = min(refunded_by_banks(invoice), dispute.amount_minor)
    given = 0
    for note in invoice.credit_notes.filter(refund_minor__gt=0).order_by("sequence"):
        part = min(left - given, refund_left(note))
        given += _give_by_bank(dispute, part, note, decided_at, by, at)
    part = min(balance_by_banks(invoice), dispute.amount_minor - given)
    return given + _give_by_bank(dispute, part, None, decided_at, by, at)


def _give_by_bank(
    dispute: Dispute, minor: int, note: CreditNote | None, decided_at: datetime, by: User,
    at: datetime,
) -> int:  # fmt: skip
    if minor > 0:
        of = f"note:{note.pk}" if note else "balance"
        _once(
            Refund(
                customer_id=dispute.customer_id, credit_note=note, amount_minor=minor,
                currency=dispute.currency, refunded_at=min(decided_at, at), method=BY_BANK,
                reference=f"{dispute.pk}: {dispute.reference}"[:100], recorded_by=by,
                recorded_at=at, source_key=f"dispute:{dispute.pk}:{of}",
            )
        )  # fmt: skip
    return minor


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
        Conflict: a lost dispute made it.
        IdempotencyConflict: it failed before for another reason.
    """
    require_permission(by, "invoicing.record_refund", "record that refunds failed")
    if not 0 < len(reason.strip()) <= 500:
        raise Invalid("a failed refund has a reason of up to 500 characters", field="reason")
    if not refund.refunded_at <= failed_at <= at:
        raise Invalid("a refund fails after it was made, and not in the future", field="failed_at")
    if refund.method == BY_BANK:
        raise Conflict(f"a dispute that was lost made {refund}: it cannot come back")
    lock_customer(refund.customer_id)
    before = RefundFailure.objects.filter(refund=refund).first()
    if before is not None:
        if before.reason != reason:
            raise IdempotencyConflict(f"{refund} failed before: {before.reason}")
        return before
    failure = RefundFailure.objects.create(
        refund=refund, failed_at=failed_at, reason=reason, recorded_by=by, recorded_at=at
    )
    outbox.publish("money_changed", [refund.customer_id], at)
    audit.record(
        by=by, at=at, action="record_refund_failure", subject=failure, reason=reason,
        reference=refund.reference, amount_minor=refund.amount_minor, currency=refund.currency,
    )  # fmt: skip
    return failure


def _once(wanted: Refund) -> Refund:
    """Store a refund and tell of it; call it under the customer's lock."""
    _refuse_incomplete(wanted)
    before = Refund.objects.filter(source_key=wanted.source_key).first()
    if before is not None:
        return _same_refund(before, wanted)
    _refuse_too_much(wanted)
    by, at, note = wanted.recorded_by, wanted.recorded_at, wanted.credit_note
    wanted.save(force_insert=True)
    outbox.publish("money_changed", [wanted.customer_id], at)
    audit.record(
        by=by, at=at, action="record_refund", subject=wanted, method=wanted.method,
        credit_note=note.number if note else "", amount_minor=wanted.amount_minor,
        currency=wanted.currency, reference=wanted.reference,
    )  # fmt: skip
    return wanted


def _refuse_dispute(method: str) -> None:
    if method == BY_BANK:
        raise Invalid("what a dispute gave back follows from its verdict", field="method")


def _refuse_incomplete(wanted: Refund) -> None:
    if wanted.amount_minor <= 0:
        raise Invalid("a refund is more than nothing", field="amount")
    if not (0 < len(wanted.method.strip()) <= 32 and 0 < len(wanted.reference.strip()) <= 100):
        raise Invalid("a refund has a method (up to 32 characters) and a reference (up to 100)")
    if not 0 < len(wanted.source_key) <= _LONGEST_KEY:
        raise Invalid(f"a refund's key has 1 to {_LONGEST_KEY} characters")
    if wanted.refunded_at > wanted.recorded_at:
        raise Invalid("a refund is recorded once it was made, not before", field="refunded_at")


def _refuse_too_much(wanted: Refund) -> None:
    note = wanted.credit_note
    whose = note or f"the balance of {wanted.customer}"
    named = Refund.objects.filter(method=wanted.method, reference=wanted.reference)
    if named.filter(customer_id=wanted.customer_id, credit_note=note).exists():
        raise Conflict(f"{wanted.reference} was recorded for {whose} before", field="reference")
    left = refund_left(note) if note else balance_in(wanted.customer_id, wanted.currency)
    if wanted.amount_minor > left:
        has = Money(left, wanted.currency)
        raise Insufficient(f"{whose} has {has} left to refund", field="amount")


def _same_refund(before: Refund, wanted: Refund) -> Refund:
    names = (
        *("customer_id", "credit_note_id", "amount_minor", "currency"),
        *("method", "reference", "refunded_at"),
    )
    if any(getattr(before, name) != getattr(wanted, name) for name in names):
        raise IdempotencyConflict("this key recorded another refund before")
    return before
