"""Write drafts: an invoice without a number, whose lines may still be rebuilt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from invoicing.lines import Line
from invoicing.models import (
    Invoice,
    InvoiceLine,
    LineDiscount,
    LineOutcome,
    LineUsage,
    Subscription,
)
from invoicing.selectors.entities import entity_id_of
from invoicing.services.taxing import divided, mark, tax_of_draft
from metering.models import Customer


@dataclass(frozen=True)
class Draft:
    """What a draft is about; its source key names it for good."""

    customer: Customer
    subscription: Subscription | None
    currency: str
    service: Period
    ready_at: datetime
    source_key: str
    replaces: Invoice | None = None  # The void invoice whose claim it makes again.


def create_draft(draft: Draft, at: datetime) -> Invoice:
    """Add an invoice without lines."""
    return Invoice.objects.create(
        customer=draft.customer,
        entity_id=entity_id_of(draft.customer),
        subscription=draft.subscription,
        currency=draft.currency,
        service_start_at=draft.service.start,
        service_end_at=draft.service.end,
        created_at=at,
        ready_at=draft.ready_at,
        source_key=draft.source_key,
        replaces=draft.replaces,
    )


def copy_lines(source: Invoice, target: Invoice) -> None:
    """Give a draft the lines of another invoice, each under a key of the draft's own."""
    rows = list(source.lines.order_by("position"))
    copies = InvoiceLine.objects.bulk_create(_copied(row, target) for row in rows)
    _copy_discounts(rows, copies)
    _set_total(target, copies)


def _copy_discounts(rows: Sequence[InvoiceLine], copies: Sequence[InvoiceLine]) -> None:
    """Say again what came off lines that are claimed again."""
    by_line = {row.pk: copy for row, copy in zip(rows, copies, strict=True)}
    discounts = list(LineDiscount.objects.filter(line__in=rows).order_by("id"))
    for discount in discounts:
        discount.line, discount.pk, discount._state.adding = by_line[discount.line_id], None, True
    LineDiscount.objects.bulk_create(discounts)


def _copied(row: InvoiceLine, target: Invoice) -> InvoiceLine:
    copy = InvoiceLine.objects.get(pk=row.pk)
    copy.pk, copy.invoice, copy.credited_minor, copy.tax_credited_minor = None, target, 0, 0
    copy.source_key = f"{target.source_key}:{row.position}"
    copy._state.adding = True
    return copy


def write_lines(
    invoice: Invoice, lines: Sequence[Line], billing_period: BillingPeriod | None = None
) -> list[InvoiceLine]:
    """Put the lines on a draft that has none, in order, taxed, and set its total."""
    tax = tax_of_draft(invoice)
    rows = [
        _row(invoice, position, line, billing_period)
        for position, line in enumerate(lines, start=1)
    ]
    for row, line in zip(rows, lines, strict=True):
        mark(row, divided(line, tax), tax)
    made = InvoiceLine.objects.bulk_create(rows)
    _write_discounts(made, lines)
    _set_total(invoice, made)
    return made


def _write_discounts(rows: Sequence[InvoiceLine], lines: Sequence[Line]) -> None:
    LineDiscount.objects.bulk_create(
        LineDiscount(
            line=row,
            name=part.name,
            amount_minor=part.amount_minor,
            plan_item_id=part.item_id,
            redemption_id=part.redemption_id,
        )
        for row, line in zip(rows, lines, strict=True)
        for part in line.discounts
    )


def clear_lines(invoice: Invoice) -> None:
    """Take everything off a draft; the database refuses it once the invoice is issued."""
    LineUsage.objects.filter(line__invoice=invoice).delete()
    LineOutcome.objects.filter(line__invoice=invoice).delete()
    LineDiscount.objects.filter(line__invoice=invoice).delete()
    invoice.lines.all().delete()
    _set_total(invoice, [])


def _row(
    invoice: Invoice, position: int, line: Line, billing_period: BillingPeriod | None
) -> InvoiceLine:
    return InvoiceLine(
        invoice=invoice,
        position=position,
        kind=line.kind,
        description=line.description[:300],
        quantity=line.quantity,
        unit=line.unit,
        unit_price_unrounded=line.unit_price_unrounded,
        amount_minor=line.amount_minor,
        discount_minor=line.discount_minor,
        service_start_at=line.service.start if line.service else invoice.service_start_at,
        service_end_at=line.service.end if line.service else invoice.service_end_at,
        billing_period=billing_period,
        source_key=f"{invoice.source_key}:{line.key}" if line.key else invoice.source_key,
    )


def _set_total(invoice: Invoice, rows: Sequence[InvoiceLine]) -> None:
    invoice.tax_minor = sum(row.tax_minor for row in rows)
    invoice.total_minor = sum(row.amount_minor for row in rows) + invoice.tax_minor
    invoice.save(update_fields=["total_minor", "tax_minor"])
