"""What the page of an invoice shows its customer: every number is written out here."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import Sum

from invoicing.documents import Data, invoice_data
from invoicing.models import (
    AttemptState,
    Dispute,
    Invoice,
    InvoiceStatus,
    PaymentAttempt,
    Refund,
)
from invoicing.selectors import is_issued
from invoicing.selectors.replacing import replacement_of
from invoicing.selectors.writing import writer_of

_TABLES = (
    "lines",
    "statement",
    "subtotals",
    "total",
    "number",
    "issued",
    "seller",
    "customer",
    "workspace",
)

_WAYS = {"stripe": "card"}  # As customers call them.


@dataclass(frozen=True)
class State:
    """What became of an invoice, in words for its customer; the tone colours it."""

    label: str
    tone: str  # "good", "wait", "bad" or "plain"
    hint: str = ""


@dataclass(frozen=True)
class Row:
    """A fact with an amount; `at` orders it, `note` names a credit note with a document."""

    label: str
    amount: str
    at: datetime
    day: str
    note: str = ""


def page_data(invoice: Invoice, at: datetime) -> Data:
    """Gather what an issued invoice claims and what happened to it since, as of `at`."""
    data = invoice_data(invoice)
    return {
        **{name: data[name] for name in _TABLES},
        "state": state_of(invoice, str(data["due"]), at),
        "due_label": "Amount due",
        "declined": _declined(invoice),
        "amount_due": writer_of(invoice).money(due_minor(invoice)),
        "settled": list(_settled(invoice)),
        "happened": sorted(_happened(invoice), key=lambda row: row.at),
    }


def _declined(invoice: Invoice) -> str:
    """Return the day of the last try to charge a card, if it was declined; "" otherwise."""
    last = PaymentAttempt.objects.filter(invoice=invoice).order_by("-number").first()
    if last is None or last.state != AttemptState.DECLINED or not due_minor(invoice):
        return ""
    assert last.closed_at is not None, "payment_attempt_closed"
    return writer_of(invoice).local_day(last.closed_at)


def due_minor(invoice: Invoice) -> int:
    """Return what the customer has to pay; what we gave up is still owed."""
    return invoice.open_minor + invoice.written_off_minor


def state_of(invoice: Invoice, due: str, at: datetime) -> State:
    """Say what became of an invoice; it is overdue after its last day where the customer lives."""
    if invoice.status == InvoiceStatus.VOID:
        newer = replacement_of(invoice)
        by = f" Invoice {newer.number} replaces it." if newer and is_issued(newer) else ""
        return State("Void", "plain", f"Nothing is owed for it.{by}")
    if due_minor(invoice):
        today = at.astimezone(ZoneInfo(invoice.customer.time_zone)).date()
        is_late = invoice.due_on is not None and today > invoice.due_on
        return State("Overdue", "bad", f"was due by {due}") if is_late else _open(due)
    if not invoice.total_minor:
        return State("Nothing to pay", "good")
    is_paid = invoice.paid_minor or invoice.applied_minor
    return State("Paid", "good") if is_paid else State("Credited", "good")


def _open(due: str) -> State:
    return State("Open", "wait", f"due by {due}")


def _settled(invoice: Invoice) -> Iterator[Data]:
    """List what lies between the total and what is due."""
    writer = writer_of(invoice)
    if invoice.status == InvoiceStatus.VOID:
        parts = [("Void", invoice.total_minor)]
    else:
        off = (
            invoice.credit_notes.filter(void=None).aggregate(minor=Sum("open_minor"))["minor"] or 0
        )
        parts = [
            ("Paid", invoice.paid_minor),
            ("Paid from your balance", invoice.applied_minor),
            ("Credited", off),
        ]
    for label, minor in parts:
        if minor:
            yield {"label": label, "amount": writer.less(minor)}


def _happened(invoice: Invoice) -> Iterator[Row]:
    """List payments, uses of the balance, what went back, and credit notes."""
    writer = writer_of(invoice)

    def row(label: str, minor: int, at: datetime, note: str = "") -> Row:
        return Row(label, writer.money(minor), at, writer.local_day(at), note)

    for payment in invoice.payments.all():
        way = _WAYS.get(payment.method) or payment.method.replace("_", " ")
        yield row(f"Paid by {way}", payment.amount_minor, payment.paid_at)
    for applied in invoice.balance_applications.all():
        yield row("Paid from your balance", applied.amount_minor, applied.applied_at)
    for refund in Refund.objects.filter(credit_note__invoice=invoice):
        yield row("Refunded to you", refund.amount_minor, refund.refunded_at)
    for dispute in Dispute.objects.filter(invoice=invoice):
        yield row("Payment disputed at your bank", dispute.amount_minor, dispute.opened_at)
    for note in invoice.credit_notes.select_related("void"):
        yield row(f"Credit note {note.number}", note.total_minor, note.issued_at, note.number)
        if hasattr(note, "void"):
            label = f"Credit note {note.number} taken back"
            yield row(label, note.total_minor, note.void.voided_at)
