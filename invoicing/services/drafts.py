"""Write drafts: an invoice without a number, whose lines may still be rebuilt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from invoicing.lines import Line, total_minor
from invoicing.models import Invoice, InvoiceLine, LineOutcome, LineUsage, Subscription
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
    InvoiceLine.objects.bulk_create(_copied(row, target) for row in rows)
    _set_total(target, sum(row.amount_minor for row in rows))


def _copied(row: InvoiceLine, target: Invoice) -> InvoiceLine:
    copy = InvoiceLine.objects.get(pk=row.pk)
    copy.pk, copy.invoice, copy.credited_minor = None, target, 0
    copy.source_key = f"{target.source_key}:{row.position}"
    copy._state.adding = True
    return copy


def write_lines(
    invoice: Invoice, lines: Sequence[Line], billing_period: BillingPeriod | None = None
) -> list[InvoiceLine]:
    """Put the lines on a draft that has none, in order, and set its total."""
    rows = InvoiceLine.objects.bulk_create(
        InvoiceLine(
            invoice=invoice,
            position=position,
            kind=line.kind,
            description=line.description[:300],
            quantity=line.quantity,
            unit=line.unit,
            unit_price_unrounded=line.unit_price_unrounded,
            amount_minor=line.amount_minor,
            service_start_at=line.service.start if line.service else invoice.service_start_at,
            service_end_at=line.service.end if line.service else invoice.service_end_at,
            billing_period=billing_period,
            source_key=f"{invoice.source_key}:{line.key}" if line.key else invoice.source_key,
        )
        for position, line in enumerate(lines, start=1)
    )
    _set_total(invoice, total_minor(lines))
    return rows


def clear_lines(invoice: Invoice) -> None:
    """Take everything off a draft; the database refuses it once the invoice is issued."""
    LineUsage.objects.filter(line__invoice=invoice).delete()
    LineOutcome.objects.filter(line__invoice=invoice).delete()
    invoice.lines.all().delete()
    _set_total(invoice, 0)


def _set_total(invoice: Invoice, minor: int) -> None:
    invoice.total_minor = minor
    invoice.save(update_fields=["total_minor"])
