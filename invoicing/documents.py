"""Invoices and credit notes as PDF.

Frozen rows enter, bytes leave: the same rows give the same bytes. The template reads its data as
JSON and never as typst source, so that no name or memo can be more than text.
"""

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import typst
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, get_currency_symbol
from django.conf import settings
from django.db.models import Sum

from billing_project.kernel.errors import Conflict
from billing_project.kernel.money import Money, exponent
from billing_project.kernel.period import Period
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
from metering.models import Customer

_LOCALE = "en_US"
MINUS, _DASH, _NBSP = "\u2212", "\u2013", "\u00a0"
_TEMPLATES = Path(settings.BASE_DIR) / "templates" / "typst"
Data = dict[str, object]


def invoice_pdf(invoice: Invoice) -> bytes:
    """Set an issued invoice as it was issued: what settled it later is not on it.

    Raises:
        Conflict: a draft is no document.
    """
    if not is_issued(invoice) or invoice.finalized_at is None:
        raise Conflict("a draft has no document: finalize it first")
    return _compile("invoice.typ", invoice_data(invoice), invoice.finalized_at)


def credit_note_pdf(note: CreditNote) -> bytes:
    """Set a credit note."""
    return _compile("credit_note.typ", credit_note_data(note), note.issued_at)


def invoice_data(invoice: Invoice) -> Data:
    """Gather what the invoice's template shows; every number is formatted already."""
    customer = invoice.customer
    lines = list(invoice.lines.order_by("position"))
    applied = list(
        invoice.balance_applications.filter(applied_at__lte=invoice.finalized_at).order_by("id")
    )
    still = invoice.total_minor - sum(row.amount_minor for row in applied)
    return {
        "number": invoice.number,
        "seller": _seller(invoice),
        "customer": _buyer(invoice),
        "issued": local_day(cast(datetime, invoice.finalized_at), customer.time_zone),
        "due": _long(cast(date, invoice.due_on)),
        "period": _span(invoice.service_start_at, invoice.service_end_at, customer.time_zone),
        "lines": [_line(line, invoice.currency, customer) for line in lines if _claims(line)],
        "statement": _statement([line for line in lines if not _claims(line)]),
        "subtotals": _subtotals(invoice, lines),
        "total": money(invoice.total_minor, invoice.currency),
        "settlements": [_settlement_of(row, invoice) for row in applied],
        "open": money(still, invoice.currency),
        "is_paid": still == 0,
    }


def credit_note_data(note: CreditNote) -> Data:
    """Gather what the credit note's template shows."""
    invoice, customer = note.invoice, note.invoice.customer
    rows = note.lines.select_related("invoice_line").order_by("invoice_line__position")
    return {
        "number": note.number,
        "seller": _seller(invoice),
        "customer": _buyer(invoice),
        "issued": local_day(note.issued_at, customer.time_zone),
        "invoice": invoice.number,
        "invoice_issued": local_day(cast(datetime, invoice.finalized_at), customer.time_zone),
        "reason": CreditNoteReason(note.reason).label.capitalize(),
        "memo": note.memo,
        "lines": [
            {
                "position": str(row.invoice_line.position),
                "description": row.invoice_line.description,
                "service": _line_span(row.invoice_line, customer),
                **_taken_off(row, note.currency),
            }
            for row in rows
        ],
        "restored": _restored(note),
        "subtotals": _note_subtotals(note),
        "total": money(note.total_minor, note.currency),
        "off_open": money(note.open_minor, note.currency) if note.open_minor else None,
        "settlement": _settlement(note),
    }


def _taken_off(row: CreditNoteLine, currency: str) -> Data:
    """Write what a line claimed and what the note takes off it, in money or in credits."""
    line = row.invoice_line
    if row.restored_credits:
        credits_ = counted(row.restored_credits, line.unit)
        return {"claimed": counted(line.quantity, line.unit), "amount": credits_}
    return {
        "claimed": money(line.amount_minor, currency),
        "amount": money(row.amount_minor, currency),
    }


def _restored(note: CreditNote) -> str | None:
    """Write how many credits go back to the grants that paid."""
    row = note.lines.filter(restored_credits__gt=0).select_related("invoice_line").first()
    return counted(note.restored_credits, row.invoice_line.unit) if row else None


def money(amount_minor: int, currency: str) -> str:
    """Write an amount with its currency's own decimals ("$1,240.00", "¥1,240", "KWD 1.240")."""
    return _currency(Money(amount_minor, currency).decimal, currency, exponent(currency))


def unit_price(price: Decimal, currency: str) -> str:
    """Write the price of one unit, as fine as it is."""
    return _currency(price, currency, exponent(currency), most=12)


def number(value: Decimal) -> str:
    """Write a quantity with groups and only the decimals it has."""
    return format_decimal(value, format="#,##0.############", locale=_LOCALE)


def counted(value: Decimal, unit: str) -> str:
    """Write a quantity with its unit, in the plural where there is not one ("1,200 tokens")."""
    plural = "" if value == 1 or not unit or unit.endswith("s") else "s"
    return f"{number(value)} {unit}{plural}".strip()


def local_day(at: datetime, zone: str) -> str:
    """Write the day of an instant where somebody lives ("3 December 2026")."""
    return _long(at.astimezone(ZoneInfo(zone)).date())


def _currency(value: Decimal, currency: str, least: int, most: int | None = None) -> str:
    decimals = "0" * least + "#" * ((most or least) - least)
    gap = _NBSP if get_currency_symbol(currency, _LOCALE)[-1].isalpha() else ""
    pattern = f"¤{gap}#,##0.{decimals}" if decimals else f"¤{gap}#,##0"
    return format_currency(
        value, currency, format=pattern, locale=_LOCALE, currency_digits=False,
        decimal_quantization=False,
    )  # fmt: skip


def _compile(template: str, data: Data, at: datetime) -> bytes:
    """Set a template with the embedded fonts and a fixed date: deterministic bytes.

    The date is of whole seconds: PDF knows no finer ones, and typst refuses them.
    """
    pdf: bytes = typst.compile(
        _TEMPLATES / template,
        root=_TEMPLATES,
        format="pdf",
        ignore_system_fonts=True,
        font_paths=[_TEMPLATES / "fonts"],  # For scripts that the embedded fonts lack.
        sys_inputs={"data": json.dumps(data, ensure_ascii=False, sort_keys=True)},
        timestamp=at.replace(microsecond=0),
    )
    return pdf


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


def _line(line: InvoiceLine, currency: str, customer: Customer) -> Data:
    unit = "" if line.kind == LineKind.RECURRING else line.unit
    return {
        "description": line.description,
        "service": _line_span(line, customer),
        "quantity": counted(line.quantity, unit),
        "unit_price": unit_price(line.unit_price_unrounded, currency),
        "amount": money(line.amount_minor, currency),
    }


def _statement(lines: list[InvoiceLine]) -> Data | None:
    """Explain the credits by meter and model: technical quantity beside credits, never money."""
    if not lines:
        return None
    sums = LineUsage.objects.filter(line__in=lines).aggregate(
        drawn=Sum("rated_usage__drawn"), overage=Sum("rated_usage__overage")
    )
    used = _quantities(lines)
    return {
        "unit": lines[0].unit,
        "rows": [
            {
                "description": line.description,
                "used": used[line.pk],
                "credits": number(line.quantity),
            }
            for line in lines
        ],
        "total": number(sum((line.quantity for line in lines), Decimal(0))),
        "drawn": number(sums["drawn"]),
        "overage": number(sums["overage"]),
    }


def _quantities(lines: list[InvoiceLine]) -> dict[int, str]:
    """Sum the metered quantity behind each statement line ("1,204,331 tokens")."""
    rows = (
        LineUsage.objects.filter(line__in=lines)
        .values_list("line_id", "rated_usage__window__meter__unit")
        .annotate(quantity=Sum("rated_usage__quantity"))
    )
    return {line_id: counted(quantity, unit) for line_id, unit, quantity in rows}


def _subtotals(invoice: Invoice, lines: list[InvoiceLine]) -> list[Data]:
    """List the net sum and the tax by rate, or why there is none; nothing where none is due."""
    if invoice.tax_treatment == TaxTreatment.REVERSE_CHARGE:
        words = TaxTreatment.REVERSE_CHARGE.label.capitalize()
        return [{"label": words, "amount": money(0, invoice.currency)}]
    if not invoice.tax_minor:
        return []
    taxes: dict[Decimal, int] = {}
    for line in lines:
        taxes[line.tax_rate] = taxes.get(line.tax_rate, 0) + line.tax_minor
    amounts = [("Net", invoice.total_minor - invoice.tax_minor)]
    amounts += [
        (f"{invoice.tax_name} {number(rate * 100)} %", minor)
        for rate, minor in sorted(taxes.items())
    ]
    return [
        {"label": label, "amount": money(minor, invoice.currency)}
        for label, minor in amounts
        if minor
    ]


def _note_subtotals(note: CreditNote) -> list[Data]:
    if not note.tax_minor:
        return []
    name, net = note.invoice.tax_name, note.total_minor - note.tax_minor
    return [
        {"label": "Net", "amount": money(net, note.currency)},
        {"label": name, "amount": money(note.tax_minor, note.currency)},
    ]


def _settlement(note: CreditNote) -> list[Data]:
    """List how what was paid goes back, as it was decided when the note was issued."""
    parts = (
        ("Was paid: will be refunded to you", note.refund_minor),
        ("Was paid: your balance, for the next invoices", note.balance_minor),
        ("Was paid: already given back to you", note.out_of_band_minor),
    )
    return [
        {"label": label, "amount": money(minor, note.currency)} for label, minor in parts if minor
    ]


def _settlement_of(applied: BalanceApplication, invoice: Invoice) -> Data:
    """Say what the customer's balance paid when the invoice was issued."""
    day = local_day(applied.applied_at, invoice.customer.time_zone)
    amount = money(applied.amount_minor, invoice.currency)
    return {"label": f"Your balance, applied {day}", "amount": f"{MINUS}{amount}"}


def _line_span(line: InvoiceLine, customer: Customer) -> str:
    return _span(line.service_start_at, line.service_end_at, customer.time_zone)


def _span(start: datetime, end: datetime, zone: str) -> str:
    """Write a half-open period as its first and last local day."""
    days = Period(start, end).days(zone)
    first, last = _short(days[0]), _short(days[-1])
    return first if first == last else f"{first} {_DASH} {last}"


def _long(day: date) -> str:
    return format_date(day, "d MMMM y", locale=_LOCALE)


def _short(day: date) -> str:
    return format_date(day, "d MMM y", locale=_LOCALE)
