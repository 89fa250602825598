"""Record what a payment provider did: money that came, what it kept of it as its fee."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import User
from invoicing.crediting import pays
from invoicing.models import (
    Dispute,
    FeeKind,
    Invoice,
    InvoiceStatus,
    Overpayment,
    Payment,
    ProcessorFee,
)
from invoicing.selectors import is_issued
from invoicing.services.locks import lock_invoice, require_permission
from invoicing.services.payments import record_payment


@dataclass(frozen=True)
class Receipt:
    """What money that came did: it paid the invoice, and the rest is the customer's balance."""

    payment: Payment | None
    overpayment: Overpayment | None


@transaction.atomic
def record_receipt(
    *,
    invoice: Invoice,
    amount_minor: int,
    method: str,
    reference: str,
    paid_at: datetime,
    by: User,
    at: datetime,
) -> Receipt:
    """Record money that came for an invoice, whatever it still owes by now (rules 2 and 3).

    What is more than it owes is the customer's balance: money that is here is never refused, on a
    void invoice neither; on one that was written off it is a recovery. The method and reference
    name it: the same again returns what it did.

    Raises:
        NotAllowed: a person without the permission.
        Conflict: the invoice is a draft.
        IdempotencyConflict: it was recorded with another amount.
    """
    require_permission(by, "invoicing.record_payment", "record payments")
    locked = lock_invoice(invoice)
    if not is_issued(locked):
        raise Conflict("a draft is not owed yet: finalize it first")
    before = _known(locked, method, reference)
    if before.payment or before.overpayment:
        return _same(before, amount_minor, reference)
    is_void = locked.status == InvoiceStatus.VOID
    owed = 0 if is_void else locked.open_minor + locked.written_off_minor  # Never both.
    paid_minor = pays(amount_minor, owed)
    payment = overpayment = None
    if paid_minor:
        payment = record_payment(
            invoice=locked, amount_minor=paid_minor, method=method, reference=reference,
            paid_at=paid_at, by=by, at=at,
        )  # fmt: skip
    if amount_minor > paid_minor:
        overpayment = Overpayment(
            customer_id=locked.customer_id, invoice=locked, currency=locked.currency,
            amount_minor=amount_minor - paid_minor, paid_at=paid_at, method=method,
            reference=reference, recorded_by=by, recorded_at=at,
        )  # fmt: skip
        _take_in(overpayment)
    return Receipt(payment, overpayment)


@transaction.atomic
def record_fee(
    *,
    source: Payment | Overpayment | Dispute,
    amount_minor: int,
    currency: str,
    charged_at: datetime,
    reference: str,
    by: User,
    at: datetime,
) -> ProcessorFee | None:
    """Record what the provider kept for a payment or a dispute (rules 2 and 17); None: nothing.

    Args:
        reference: The provider's name of the movement; the same again returns the same row.

    Raises:
        Invalid: a negative fee.
    """
    if amount_minor < 0:
        raise Invalid("a fee is not negative", field="amount")
    if not amount_minor:
        return None
    is_dispute = isinstance(source, Dispute)
    customer_id = source.invoice.customer_id
    fee, is_new = ProcessorFee.objects.get_or_create(
        method=source.method,
        reference=reference,
        defaults={
            "customer_id": customer_id,
            "kind": FeeKind.DISPUTE if is_dispute else FeeKind.PAYMENT,
            "payment": source if isinstance(source, Payment) else None,
            "dispute": source if isinstance(source, Dispute) else None,
            "amount_minor": amount_minor,
            "currency": currency,
            "charged_at": charged_at,
            "recorded_by": by,
            "recorded_at": at,
        },
    )
    if is_new:
        outbox.publish("money_changed", [customer_id], at)
    return fee


def _known(invoice: Invoice, method: str, reference: str) -> Receipt:
    words = {"method": method, "reference": reference}
    return Receipt(
        invoice.payments.filter(**words).first(), invoice.overpayments.filter(**words).first()
    )


def _same(before: Receipt, amount_minor: int, reference: str) -> Receipt:
    rows = [row for row in (before.payment, before.overpayment) if row is not None]
    if sum(row.amount_minor for row in rows) != amount_minor:
        raise IdempotencyConflict(f"{reference} was recorded with another amount before")
    return before


def _take_in(overpayment: Overpayment) -> None:
    overpayment.save(force_insert=True)
    outbox.publish("money_changed", [overpayment.customer_id], overpayment.recorded_at)
    audit.record(
        by=overpayment.recorded_by, at=overpayment.recorded_at, action="record_overpayment",
        subject=overpayment, invoice=overpayment.invoice.number,
        amount_minor=overpayment.amount_minor, currency=overpayment.currency,
    )  # fmt: skip
