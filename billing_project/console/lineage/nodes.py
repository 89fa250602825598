"""Read what a reader wants to see of each fact: one query for each kind."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any

from django.db.models import F, Min, Prefetch, Q, Sum

from billing_project.console.lineage.graph import Node, NodeType, Ref
from billing_project.kernel.money import Money
from billing_project.kernel.quantity import plain
from credits.models import (
    CreditGrant,
    LedgerKind,
    LedgerTransaction,
    PricingModel,
    RateCardVersion,
    RatedUsage,
)
from credits.selectors.why import why_these_grants
from invoicing.models import (
    BalanceApplication,
    CreditNote,
    CreditNoteVoid,
    InvoiceLine,
    InvoiceVoid,
    Outcome,
    Payment,
    Refund,
    RefundFailure,
    ShortPayment,
    WriteOff,
)
from invoicing.selectors import plan_version_at
from metering.models import MeterEvent, MeterEventAdjustment, UsageWindow
from metering.selectors.archived_events import archived_events_of
from revrec.models import AccountingPeriod, JournalEntry, LedgerSeal, RevenueSchedule
from revrec.schedule import start_of
from revrec.selectors.zone import books_zone

MOST_EXPLAINED = 25  # Of each, what every grant had left before it is read.
_Ids = Collection[int]


def load_nodes(refs: Iterable[Ref]) -> list[Node]:
    """Return the facts that exist, in no order."""
    ids: dict[NodeType, list[int]] = defaultdict(list)
    for ref in refs:
        ids[ref.type].append(ref.pk)
    return [node for type_, some in ids.items() for node in _LOADERS[type_](some)]


def _meter_events(ids: _Ids) -> Iterator[Node]:
    stored = MeterEvent.objects.filter(pk__in=ids).only("event_name", "identifier", "timestamp")
    for event in chain(stored, archived_events_of(ids)):
        ref, label = Ref(NodeType.METER_EVENT, event.pk), f"{event.event_name} {event.identifier}"
        yield Node(ref, label, Decimal(1), "event", event.timestamp)


def _adjustments(ids: _Ids) -> Iterator[Node]:
    rows = MeterEventAdjustment.objects.filter(pk__in=ids).select_related("created_by")
    for row in rows:
        ref = Ref(NodeType.METER_EVENT_ADJUSTMENT, row.pk)
        label = f"{row.type} {row.identifier} by {row.created_by}: {row.reason}"
        yield Node(ref, label, Decimal(1), "adjustment", row.created_at)


def _usage_windows(ids: _Ids) -> Iterator[Node]:
    for window in UsageWindow.objects.filter(pk__in=ids).prefetch_related("meter"):
        words = [window.meter.code, *(str(value) for value in window.dimensions.values())]
        label = f"{' '.join(words)} in the hour of {window.start_at:%Y-%m-%d %H:00}"
        ref = Ref(NodeType.USAGE_WINDOW, window.pk)
        yield Node(ref, label, window.quantity, window.meter.unit, window.start_at)


def _rated(ids: _Ids) -> Iterable[Any]:
    """Read what is shown of rated usage; what many rows share is read once, not with each."""
    versions = RateCardVersion.objects.select_related("rate_card__pricing_unit")
    rows = RatedUsage.objects.filter(pk__in=ids).annotate(meter_unit=F("window__meter__unit"))
    rows = rows.only(
        "quantity", "charge", "overage", "service_at", "source_key", "tiers", "rate",
        "rate_card_version",
    )  # fmt: skip
    return rows.prefetch_related("rate", Prefetch("rate_card_version", versions))


def _rated_usage(ids: _Ids) -> Iterator[Node]:
    for rated in _rated(ids):
        version = rated.rate_card_version
        unit = version.rate_card.pricing_unit.code
        label = f"{plain(rated.quantity)} {rated.meter_unit} {_price(rated, unit)}"
        ref = Ref(NodeType.RATED_USAGE, rated.pk)
        yield Node(ref, label, rated.charge, unit, rated.service_at, str(version))


def _price(rated: RatedUsage, unit: str) -> str:
    """Tell the unit price, or the tiers in which the charge changed."""
    if rated.rate.model == PricingModel.PER_UNIT:
        return f"at {plain(rated.rate.unit_price)} {unit} each"
    names = ", ".join(tier["name"] for tier in rated.tiers if "name" in tier)
    return f"by {rated.rate.get_model_display().lower()}: {names or 'no tier changed'}"


def _overage(ids: _Ids) -> Iterator[Node]:
    for rated in _rated(ids):
        version = rated.rate_card_version
        ref, label = Ref(NodeType.OVERAGE, rated.pk), f"beyond the grants, of {rated.source_key}"
        unit = version.rate_card.pricing_unit.code
        yield Node(ref, label, rated.overage, unit, rated.service_at, str(version))


def _credit_grants(ids: _Ids) -> Iterator[Node]:
    for grant in CreditGrant.objects.filter(pk__in=ids).select_related("pricing_unit"):
        ref, label = Ref(NodeType.CREDIT_GRANT, grant.pk), f"{grant} ({grant.source_key})"
        yield Node(ref, label, grant.amount, grant.pricing_unit.code, grant.effective_at)


def _ledger_transactions(ids: _Ids) -> Iterator[Node]:
    grants = CreditGrant.objects.select_related("pricing_unit")
    rows = (
        LedgerTransaction.objects.filter(pk__in=ids)
        .only("kind", "credits", "effective_at", "grant", "credit_policy")
        .prefetch_related(Prefetch("grant", grants), "credit_policy")
    )
    drawn = sorted(row.pk for row in rows if row.kind == LedgerKind.DRAWN)
    reasons = why_these_grants(drawn[:MOST_EXPLAINED])
    for row in rows:
        ref, label = Ref(NodeType.LEDGER_TRANSACTION, row.pk), f"{row.kind}, {row.grant}"
        if row.kind == LedgerKind.DRAWN and not row.grant.price_minor:
            label += "; zero basis: no entry"  # Why the walk ends here.
        policy = str(row.credit_policy or "")
        unit, why = row.grant.pricing_unit.code, reasons.get(row.pk, "")
        yield Node(ref, label, row.credits, unit, row.effective_at, policy, why)


def _invoice_lines(ids: _Ids) -> Iterator[Node]:
    lines = InvoiceLine.objects.filter(pk__in=ids).select_related(
        "invoice__subscription__plan_version__plan"
    )
    for line in lines:
        invoice = line.invoice
        sold = invoice.subscription
        version = str(plan_version_at(sold, invoice.service_start_at)) if sold else ""
        ref, label = Ref(NodeType.INVOICE_LINE, line.pk), f"{line}: {line.description}"
        at = invoice.finalized_at or invoice.created_at
        yield _money(ref, label, line.amount_minor, invoice.currency, at, version)


def _outcomes(ids: _Ids) -> Iterator[Node]:
    rows = Outcome.objects.filter(pk__in=ids).select_related("item__plan_version__plan")
    for row in rows:
        ref, version = Ref(NodeType.OUTCOME, row.pk), row.item.plan_version
        label = f"{row.item.name} {row.identifier}, {row.state}"
        yield _money(
            ref, label, row.item.amount_minor, version.currency, row.occurred_at, str(version)
        )


def _credit_notes(ids: _Ids) -> Iterator[Node]:
    for note in CreditNote.objects.filter(pk__in=ids):
        ref, label = Ref(NodeType.CREDIT_NOTE, note.pk), f"{note.number}: {note.reason}"
        yield _money(ref, label, note.total_minor, note.currency, note.issued_at)


def _note_voids(ids: _Ids) -> Iterator[Node]:
    for void in CreditNoteVoid.objects.filter(pk__in=ids).select_related("credit_note"):
        ref, note = Ref(NodeType.CREDIT_NOTE_VOID, void.pk), void.credit_note
        label = f"{note.number} void: {void.reason}"
        yield _money(ref, label, note.total_minor, note.currency, void.voided_at)


def _voids(ids: _Ids) -> Iterator[Node]:
    for void in InvoiceVoid.objects.filter(pk__in=ids).select_related("invoice"):
        ref, invoice = Ref(NodeType.INVOICE_VOID, void.pk), void.invoice
        label = f"{invoice.number} void: {void.reason}"
        yield _money(ref, label, invoice.total_minor, invoice.currency, void.voided_at)


def _write_offs(ids: _Ids) -> Iterator[Node]:
    for row in WriteOff.objects.filter(pk__in=ids).select_related("invoice"):
        ref = Ref(NodeType.WRITE_OFF, row.pk)
        label = f"{row.invoice.number} written off: {row.reason}"
        yield _money(ref, label, row.amount_minor, row.currency, row.written_off_at)


def _payments(ids: _Ids) -> Iterator[Node]:
    for payment in Payment.objects.filter(pk__in=ids):
        ref, label = Ref(NodeType.PAYMENT, payment.pk), f"{payment.method} {payment.reference}"
        yield _money(ref, label, payment.amount_minor, payment.currency, payment.paid_at)


def _short_payments(ids: _Ids) -> Iterator[Node]:
    for row in ShortPayment.objects.filter(pk__in=ids).select_related("invoice"):
        ref, label = Ref(NodeType.SHORT_PAYMENT, row.pk), f"{row.invoice.number} paid short"
        yield _money(ref, label, row.amount_minor, row.currency, row.accepted_at)


def _applications(ids: _Ids) -> Iterator[Node]:
    for row in BalanceApplication.objects.filter(pk__in=ids).select_related("invoice"):
        ref = Ref(NodeType.BALANCE_APPLICATION, row.pk)
        label = f"customer balance, for {row.invoice.number}"
        yield _money(ref, label, row.amount_minor, row.currency, row.applied_at)


def _refunds(ids: _Ids) -> Iterator[Node]:
    for refund in Refund.objects.filter(pk__in=ids):
        ref, label = Ref(NodeType.REFUND, refund.pk), f"{refund.method} {refund.reference}"
        yield _money(ref, label, refund.amount_minor, refund.currency, refund.refunded_at)


def _failures(ids: _Ids) -> Iterator[Node]:
    for row in RefundFailure.objects.filter(pk__in=ids).select_related("refund"):
        ref, refund = Ref(NodeType.REFUND_FAILURE, row.pk), row.refund
        label = f"{refund.reference} failed: {row.reason}; to the balance"
        yield _money(ref, label, refund.amount_minor, refund.currency, row.failed_at)


def _revenue_schedules(ids: _Ids) -> Iterator[Node]:
    for plan in RevenueSchedule.objects.filter(pk__in=ids).select_related("obligation"):
        ref = Ref(NodeType.REVENUE_SCHEDULE, plan.pk)
        label = f"{plan.start_on} to {plan.end_on} by day, revision {plan.revision}"
        currency = plan.obligation.currency
        yield _money(ref, label, plan.price_minor, currency, plan.created_at)


def _journal_entries(ids: _Ids) -> Iterator[Node]:
    entries = JournalEntry.objects.filter(pk__in=ids).annotate(
        debit=Sum("postings__amount_minor", filter=Q(postings__amount_minor__gt=0)),
        revenue=Sum("postings__amount_minor", filter=Q(postings__account__code__startswith="4")),
        currency=Min("postings__currency"),  # An entry is in one currency.
    )
    zone = books_zone()
    for entry in entries:
        ref, label = Ref(NodeType.JOURNAL_ENTRY, entry.pk), f"{entry} {entry.description}"
        at = start_of(entry.effective_on, zone)
        takes_away = (entry.revenue or 0) > 0  # Credits earn, so a debit takes back.
        debit = entry.debit or 0  # A difference of exchange alone moves no amount of its own.
        minor = -debit if takes_away else debit
        yield _money(ref, label, minor, entry.currency, at)


def _periods(ids: _Ids) -> Iterator[Node]:
    zone = books_zone()
    for period in AccountingPeriod.objects.filter(pk__in=ids).select_related("closed_by"):
        ref, label = Ref(NodeType.ACCOUNTING_PERIOD, period.pk), f"{period}, "
        label += period.get_status_display().lower()
        if period.closed_at:
            label += f" {period.closed_at:%Y-%m-%d} by {period.closed_by}"
        yield Node(ref, label, Decimal(1), "month", start_of(period.start_on, zone))


def _seals(ids: _Ids) -> Iterator[Node]:
    for seal in LedgerSeal.objects.filter(pk__in=ids).select_related("period", "sealed_by"):
        label = f"{seal} by {seal.sealed_by}: {seal.entity} to position {seal.head_position}"
        ref = Ref(NodeType.LEDGER_SEAL, seal.pk)
        yield Node(ref, label, Decimal(1), "seal", seal.sealed_at)


def _money(
    ref: Ref, label: str, minor: int, currency: str, at: datetime, version: str = ""
) -> Node:
    return Node(ref, label, Money(minor, currency).decimal, currency, at, version)


_LOADERS: dict[NodeType, Callable[[_Ids], Iterator[Node]]] = {
    NodeType.METER_EVENT: _meter_events,
    NodeType.METER_EVENT_ADJUSTMENT: _adjustments,
    NodeType.USAGE_WINDOW: _usage_windows,
    NodeType.RATED_USAGE: _rated_usage,
    NodeType.CREDIT_GRANT: _credit_grants,
    NodeType.LEDGER_TRANSACTION: _ledger_transactions,
    NodeType.OVERAGE: _overage,
    NodeType.OUTCOME: _outcomes,
    NodeType.INVOICE_LINE: _invoice_lines,
    NodeType.CREDIT_NOTE: _credit_notes,
    NodeType.CREDIT_NOTE_VOID: _note_voids,
    NodeType.INVOICE_VOID: _voids,
    NodeType.WRITE_OFF: _write_offs,
    NodeType.PAYMENT: _payments,
    NodeType.SHORT_PAYMENT: _short_payments,
    NodeType.BALANCE_APPLICATION: _applications,
    NodeType.REFUND: _refunds,
    NodeType.REFUND_FAILURE: _failures,
    NodeType.REVENUE_SCHEDULE: _revenue_schedules,
    NodeType.JOURNAL_ENTRY: _journal_entries,
    NodeType.ACCOUNTING_PERIOD: _periods,
    NodeType.LEDGER_SEAL: _seals,
}
