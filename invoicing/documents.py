"""Invoices and credit notes as PDF.

Frozen rows enter, bytes leave: the same rows give the same bytes. The template reads its data as
JSON and never as typst source, so that no name or memo can be more than text.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import cast

from django.db.models import Sum

from billing_project.kernel.errors import Conflict
from billing_project.kernel.pdf import set_pdf
from invoicing.models import (
    BalanceApplication,
    CreditNote,
    CreditNoteLine,
    CreditNoteReason,
    Invoice,
    InvoiceLine,
    LineKind,
    LineUsage,
    TaxTreatment,
)
from invoicing.selectors import is_issued
from invoicing.selectors.writing import writer_of
from invoicing.writing import Writer

Data = dict[str, object]


def invoice_pdf(invoice: Invoice) -> bytes:
    """Set an issued invoice as it was issued: what settled it later is not on it.

    Raises:
        Conflict: a draft is no document.
    """
    if not is_issued(invoice) or invoice.finalized_at is None:
        raise Conflict("a draft has no document: finalize it first")
    return set_pdf("invoice.typ", invoice_data(invoice), invoice.finalized_at)


def credit_note_pdf(note: CreditNote) -> bytes:
    """Set a credit note."""
    return set_pdf("credit_note.typ", credit_note_data(note), note.issued_at)


def invoice_data(invoice: Invoice) -> Data:
    """Gather what the invoice's template shows; every number is formatted already."""
    writer = writer_of(invoice)
    lines = list(invoice.lines.order_by("position"))
    applied = list(
        invoice.balance_applications.filter(applied_at__lte=invoice.finalized_at).order_by("id")
    )
    still = invoice.total_minor - sum(row.amount_minor for row in applied)
    return {
        "number": invoice.number,
        "seller": _seller(invoice),
        "customer": _buyer(invoice),
        "issued": writer.local_day(cast(datetime, invoice.finalized_at)),
        "due": writer.day(cast(date, invoice.due_on)),
        "workspace": invoice.workspace.name if invoice.workspace else None,
        "period": writer.span(invoice.service_start_at, invoice.service_end_at),
        "lines": [_line(line, writer) for line in lines if _claims(line)],
        "statement": _statement([line for line in lines if not _claims(line)], writer),
        "subtotals": _subtotals(invoice, lines, writer),
        "total": writer.money(invoice.total_minor),
        "settlements": [_settlement_of(row, writer) for row in applied],
        "open": writer.money(still),
        "is_paid": still == 0,
    }


def credit_note_data(note: CreditNote) -> Data:
    """Gather what the credit note's template shows."""
    invoice, writer = note.invoice, writer_of(note.invoice)
    rows = note.lines.select_related("invoice_line").order_by("invoice_line__position")
    return {
        "number": note.number,
        "seller": _seller(invoice),
        "customer": _buyer(invoice),
        "issued": writer.local_day(note.issued_at),
        "invoice": invoice.number,
        "invoice_issued": writer.local_day(cast(datetime, invoice.finalized_at)),
        "reason": CreditNoteReason(note.reason).label.capitalize(),
        "memo": note.memo,
        "lines": [
            {
                "position": str(row.invoice_line.position),
                "description": row.invoice_line.description,
                "service": _service(row.invoice_line, writer),
                **_taken_off(row, writer),
            }
            for row in rows
        ],
        "restored": _restored(note, writer),
        "subtotals": _note_subtotals(note, writer),
        "total": writer.money(note.total_minor),
        "off_open": writer.money(note.open_minor) if note.open_minor else None,
        "settlement": _settlement(note, writer),
    }


def _taken_off(row: CreditNoteLine, writer: Writer) -> Data:
    """Write what a line claimed and what the note takes off it, in money or in credits."""
    line = row.invoice_line
    if row.restored_credits:
        credits_ = writer.counted(row.restored_credits, line.unit)
        return {"claimed": writer.counted(line.quantity, line.unit), "amount": credits_}
    return {
        "claimed": writer.money(line.amount_minor),
        "amount": writer.money(row.amount_minor),
    }


def _restored(note: CreditNote, writer: Writer) -> str | None:
    """Write how many credits go back to the grants that paid."""
    row = note.lines.filter(restored_credits__gt=0).select_related("invoice_line").first()
    return writer.counted(note.restored_credits, row.invoice_line.unit) if row else None


def _seller(invoice: Invoice) -> Data:
    """Say who sold, as it was called then."""
    return _party(
        invoice.seller_name, invoice.seller_address.splitlines(), invoice.seller_tax_number
    )


def _buyer(invoice: Invoice) -> Data:
    """Say who bought, as it was called then."""
    details = [invoice.customer.external_id, *invoice.customer_address.splitlines()]
    return _party(invoice.customer_name, details, invoice.customer_tax_id)


def _party(name: str, details: list[str], tax_id: str) -> Data:
    return {"name": name, "details": [*details, *([f"Tax id {tax_id}"] if tax_id else [])]}


def _claims(line: InvoiceLine) -> bool:
    return line.kind != LineKind.CREDITS_USED


def _line(line: InvoiceLine, writer: Writer) -> Data:
    unit = "" if line.kind == LineKind.RECURRING else line.unit
    return {
        "description": line.description,
        "service": _service(line, writer),
        "quantity": writer.counted(line.quantity, unit),
        "unit_price": writer.unit_price(line.unit_price_unrounded),
        "amount": writer.money(line.amount_minor),
    }


def _statement(lines: list[InvoiceLine], writer: Writer) -> Data | None:
    """Explain the credits by meter and model: technical quantity beside credits, never money."""
    if not lines:
        return None
    sums = LineUsage.objects.filter(line__in=lines).aggregate(
        drawn=Sum("rated_usage__drawn"), overage=Sum("rated_usage__overage"),
        forgiven=Sum("rated_usage__forgiven"),
    )  # fmt: skip
    used = _quantities(lines, writer)
    return {
        "unit": lines[0].unit,
        "rows": [
            {
                "description": line.description,
                "used": used[line.pk],
                "credits": writer.number(line.quantity),
            }
            for line in lines
        ],
        "total": writer.number(sum((line.quantity for line in lines), Decimal(0))),
        "drawn": writer.number(sums["drawn"] + sums["forgiven"]),  # A note's, too, were granted.
        "overage": writer.number(sums["overage"]),
    }


def _quantities(lines: list[InvoiceLine], writer: Writer) -> dict[int, str]:
    """Sum the metered quantity behind each statement line ("1,204,331 tokens")."""
    rows = (
        LineUsage.objects.filter(line__in=lines)
        .values_list("line_id", "rated_usage__window__meter__unit")
        .annotate(quantity=Sum("rated_usage__quantity"))
    )
    return {line_id: writer.counted(quantity, unit) for line_id, unit, quantity in rows}


def _subtotals(invoice: Invoice, lines: list[InvoiceLine], writer: Writer) -> list[Data]:
    """List the net sum and the tax by rate, or why there is none; nothing where none is due."""
    if invoice.tax_treatment == TaxTreatment.REVERSE_CHARGE:
        words = TaxTreatment.REVERSE_CHARGE.label.capitalize()
        return [{"label": words, "amount": writer.money(0)}]
    if not invoice.tax_minor:
        return []
    taxes: dict[Decimal, int] = {}
    for line in lines:
        taxes[line.tax_rate] = taxes.get(line.tax_rate, 0) + line.tax_minor
    amounts = [("Net", invoice.total_minor - invoice.tax_minor)]
    amounts += [
        (f"{invoice.tax_name} {writer.formats.percent(rate)}", minor)
        for rate, minor in sorted(taxes.items())
    ]
    return [{"label": label, "amount": writer.money(minor)} for label, minor in amounts if minor]


def _note_subtotals(note: CreditNote, writer: Writer) -> list[Data]:
    if not note.tax_minor:
        return []
    name, net = note.invoice.tax_name, note.total_minor - note.tax_minor
    return [
        {"label": "Net", "amount": writer.money(net)},
        {"label": name, "amount": writer.money(note.tax_minor)},
    ]


def _settlement(note: CreditNote, writer: Writer) -> list[Data]:
    """List how what was paid goes back, as it was decided when the note was issued."""
    parts = (
        ("Was paid: will be refunded to you", note.refund_minor),
        ("Was paid: your balance, for the next invoices", note.balance_minor),
        ("Was paid: already given back to you", note.out_of_band_minor),
    )
    return [{"label": label, "amount": writer.money(minor)} for label, minor in parts if minor]


def _settlement_of(applied: BalanceApplication, writer: Writer) -> Data:
    """Say what the customer's balance paid when the invoice was issued."""
    day = writer.local_day(applied.applied_at)
    return {"label": f"Your balance, applied {day}", "amount": writer.less(applied.amount_minor)}


def _service(line: InvoiceLine, writer: Writer) -> str:
    return writer.span(line.service_start_at, line.service_end_at)
