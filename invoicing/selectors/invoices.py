"""Issued claims and what reduces them."""

from datetime import datetime

from django.db.models import QuerySet

from billing_project.kernel.errors import Conflict, NotFound
from billing_project.kernel.money import Money
from credits.models import CreditGrant
from invoicing.crediting import LineLeft, Off, PackLeft, pack_left
from invoicing.models import (
    CreditNote,
    CreditNoteLine,
    CreditNoteReason,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
)

CLAIMED = (InvoiceStatus.FINALIZED, InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE)
_FAVOURS = {CreditNoteReason.GOODWILL, CreditNoteReason.PRICE_CONCESSION}


def invoices(
    customer_external_id: str | None = None, status: str | None = None
) -> QuerySet[Invoice]:
    """List invoices, newest first; drafts among them."""
    found = Invoice.objects.select_related(
        "customer", "entity", "subscription__plan_version__plan", "replaces", "workspace"
    )
    if customer_external_id is not None:
        found = found.filter(customer__external_id=customer_external_id)
    if status is not None:
        found = found.filter(status=status)
    return found.order_by("-id")


def find_invoice(number: str) -> Invoice:
    """Return the issued invoice of a number.

    Raises:
        NotFound: no invoice has it.
    """
    invoice = invoices().filter(number=number).first()
    if invoice is None:
        raise NotFound(f"no invoice has the number {number}")
    return invoice


def find_line(invoice: Invoice, position: int) -> InvoiceLine:
    """Return one line of an invoice by its position.

    Raises:
        NotFound: the invoice has no such line.
    """
    line = invoice.lines.filter(position=position).first()
    if line is None:
        raise NotFound(f"{invoice} has no line {position}")
    return line


def is_issued(invoice: Invoice) -> bool:
    """Tell whether an invoice has its number, so that its facts are frozen."""
    return invoice.status != InvoiceStatus.DRAFT


def is_claimed(invoice: Invoice) -> bool:
    """Tell whether an invoice stands as a claim that payments and notes settle.

    One that was written off does: what it claims is not expected any more, and still owed.
    """
    return invoice.status in CLAIMED


def refuse_void(invoice: Invoice) -> None:
    """Refuse to settle what is void.

    Raises:
        Conflict: nothing of it is owed.
    """
    if invoice.status == InvoiceStatus.VOID:
        raise Conflict(f"{invoice} is void: nothing of it is owed")


def refuse_ended(invoice: Invoice) -> None:
    """Refuse to settle what is void or was given up.

    Raises:
        Conflict: with what may be done instead.
    """
    refuse_void(invoice)
    if invoice.status == InvoiceStatus.UNCOLLECTIBLE:
        left = Money(invoice.written_off_minor, invoice.currency)
        raise Conflict(f"{invoice} was written off: {left} may still be recovered by payments")


def lines_left(invoice: Invoice) -> list[LineLeft]:
    """List what each line claims and what notes took off it so far."""
    rows = invoice.lines.order_by("position").values_list(
        "position", "amount_minor", "credited_minor", "tax_minor", "tax_credited_minor"
    )
    return [LineLeft(*row) for row in rows]


def grants_of_line(line: InvoiceLine) -> QuerySet[CreditGrant]:
    """Return the paid grant that a credit pack's payment issued: one, or none yet."""
    return CreditGrant.objects.filter(source_key=f"invoice_line:{line.pk}:pack")


def lines_of_grant(grant: CreditGrant) -> QuerySet[InvoiceLine]:
    """Return the lines that sold a grant, or the chain that it is linked to: none if none did.

    A pack has its own line; credits that a plan includes, those of their billing period.
    """
    kind, _, rest = (grant.root or grant).source_key.partition(":")
    key, _, suffix = rest.partition(":")
    if key.isascii() and key.isdigit():
        if (kind, suffix) == ("invoice_line", "pack"):
            return InvoiceLine.objects.filter(pk=int(key))
        if (kind, suffix) == ("billing_period", "included"):
            return InvoiceLine.objects.filter(billing_period=int(key))
    return InvoiceLine.objects.none()


def pack_steps(line: InvoiceLine, until: datetime | None = None) -> list[PackLeft]:
    """List what a pack's line sold, as it was and after each note on it that stands.

    Args:
        until: Notes issued later are left out.
    """
    notes = CreditNoteLine.objects.filter(invoice_line=line).order_by("credit_note__sequence")
    if until is None:
        notes = notes.filter(credit_note__void=None)
    else:
        notes = notes.filter(credit_note__issued_at__lte=until).exclude(
            credit_note__void__voided_at__lte=until
        )
    rows = notes.values_list("amount_minor", "credit_note__reason")
    return pack_left(
        PackLeft(line.quantity, line.amount_minor),
        [Off(amount_minor, reason in _FAVOURS) for amount_minor, reason in rows],
    )


def credit_notes(
    customer_external_id: str | None = None, invoice_number: str | None = None
) -> QuerySet[CreditNote]:
    """List credit notes, newest first."""
    found = CreditNote.objects.select_related("invoice__customer", "void")
    if customer_external_id is not None:
        found = found.filter(invoice__customer__external_id=customer_external_id)
    if invoice_number is not None:
        found = found.filter(invoice__number=invoice_number)
    return found.prefetch_related("lines__invoice_line", "refunds__failure").order_by("-id")


def find_note_of(key: str) -> CreditNote | None:
    """Return the note that an idempotency key issued, or None."""
    return CreditNote.objects.filter(source_key=key).first()


def find_credit_note(number: str) -> CreditNote:
    """Return the credit note of a number.

    Raises:
        NotFound: no note has it.
    """
    note = credit_notes().filter(number=number).first()
    if note is None:
        raise NotFound(f"no credit note has the number {number}")
    return note
