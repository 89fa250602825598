"""Which grants get credits back by a credit note on what an invoice states as used."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import QuerySet, Sum

from billing_project.kernel.errors import Insufficient, Invalid
from billing_project.kernel.money import Money, settle
from billing_project.kernel.quantity import plain
from credits.costing import cost_of
from credits.models import BillingPeriod, CreditGrant, LedgerKind, LedgerTransaction, RatedUsage
from credits.selectors.forgiving import (
    GivenBack,
    credits_that_may_come_back,
    credits_to_give_back,
)
from invoicing.models import CreditNote, CreditNoteLine, InvoiceLine, LineKind, LineUsage

GOES_TO = {  # In words, after the grant.
    "grant": "",
    "linked_grant": ", which is over: to a new grant linked to it",
    "nobody": ", which was taken back: they stay void",
}
Restored = Sequence[tuple[InvoiceLine, Decimal]]


@dataclass(frozen=True)
class RestoredTo:
    """Credits of one line that one grant gets, or would get."""

    line: InvoiceLine
    grant: CreditGrant
    credits: Decimal
    goes_to: str  # "grant", "linked_grant" or, where the purchase was taken back, "nobody".


def credits_to_restore(restored: Restored, at: datetime) -> list[RestoredTo]:
    """Show who would get what; raises what restoring would.

    Raises:
        Invalid: a line that states no credits, or is named twice.
        Insufficient: more than is left of a line, or than grants paid of it.
    """
    _refuse_unreadable(restored)
    found = []
    left = _left_of([line for line, _ in restored])
    for line, amount in restored:
        _refuse_beyond(line, amount, left[line.pk])
    for period, lines in _by_period([line for line, _ in restored]):
        amounts = {line.pk: amount for line, amount in restored}
        wanted = [(usage_of(line)[1], amounts[line.pk]) for line in lines]
        found += _told(lines, credits_to_give_back(period, wanted, at))
    return found


def restorable(lines: Sequence[InvoiceLine], at: datetime) -> list[RestoredTo]:
    """Show for each line that states credits who would get what, if all that is left went back.

    Each line for itself: two that grants paid together may not both get all of it.
    """
    found, left = [], _left_of(lines)
    for period, of_period in _by_period(lines):
        wanted = [(usage_of(line)[1], left[line.pk]) for line in of_period]
        found += _told(of_period, credits_that_may_come_back(period, wanted, at))
    return found


def credits_restored(note: CreditNote) -> list[RestoredTo]:
    """List the grants that an issued note gave credits back to, the newest burn first."""
    if not note.restored_credits:
        return []
    found = []
    for row in note.lines.filter(restored_credits__gt=0).select_related("invoice_line"):
        entries = LedgerTransaction.objects.filter(
            kind=LedgerKind.RETURNED,
            rated_usage__billing_period=row.invoice_line.billing_period_id,
            rated_usage__source_key__endswith=f":forgiven:{key_of(note, row.invoice_line)}",
        ).select_related("grant__pricing_unit")
        found += [
            RestoredTo(row.invoice_line, entry.grant, entry.credits, _went(entry))
            for entry in entries.order_by("pk")
        ]
    return found


def worth_of(restored: Iterable[RestoredTo]) -> dict[str, int]:
    """Return what was paid for credits, settled, by currency; gifts cost nothing."""
    sums: dict[str, Decimal] = {}
    for part in restored:
        grant = part.grant
        cost = cost_of(part.credits, grant.priced_amount, grant.price_minor, grant.currency)
        if cost:
            sums[grant.currency] = sums.get(grant.currency, Decimal(0)) + cost
    return {currency: settle(cost, currency) for currency, cost in sums.items()}


def key_of(note: CreditNote, line: InvoiceLine) -> str:
    """Name what a note gives back of a line, towards the app that owns credits."""
    return f"credit_note:{note.pk}:{line.position}"


def usage_of(line: InvoiceLine) -> tuple[BillingPeriod, QuerySet[RatedUsage]]:
    """Return the billing period and the rated usage that a line states."""
    assert line.billing_period is not None, "what states credits has its period"
    behind = LineUsage.objects.filter(line=line, kind=LineKind.CREDITS_USED)
    return line.billing_period, RatedUsage.objects.filter(pk__in=behind.values("rated_usage"))


def _by_period(
    lines: Sequence[InvoiceLine],
) -> list[tuple[BillingPeriod, list[InvoiceLine]]]:
    groups: dict[int, tuple[BillingPeriod, list[InvoiceLine]]] = {}
    for line in lines:
        period, _ = usage_of(line)
        groups.setdefault(period.pk, (period, []))[1].append(line)
    return list(groups.values())


def _told(lines: list[InvoiceLine], seen: list[list[GivenBack]]) -> list[RestoredTo]:
    return [
        RestoredTo(line, part.grant, part.credits, _where(part))
        for line, parts in zip(lines, seen, strict=True)
        for part in parts
    ]


def _refuse_unreadable(restored: Restored) -> None:
    for line, amount in restored:
        if line.kind != LineKind.CREDITS_USED:
            raise Invalid(f"line {line.position} states no credits used", field="lines")
        if amount <= 0:
            raise Invalid(f"line {line.position}: credits are more than nothing", field="lines")
    if len({line.pk for line, _ in restored}) < len(restored):
        raise Invalid("each line is named once", field="lines")


def _refuse_beyond(line: InvoiceLine, amount: Decimal, left: Decimal) -> None:
    if amount > left:
        raise Insufficient(
            f"line {line.position} has {plain(left)} credits left to give back, not {plain(amount)}"
        )


def _left_of(lines: Sequence[InvoiceLine]) -> dict[int, Decimal]:
    """Return what lines state beyond what standing notes gave back of them, >= 0."""
    notes = CreditNoteLine.objects.filter(invoice_line__in=lines, credit_note__void=None)
    sums = notes.values_list("invoice_line").annotate(sum=Sum("restored_credits")).order_by()
    before = dict(sums)
    nothing = Decimal(0)
    return {line.pk: max(line.quantity - before.get(line.pk, nothing), nothing) for line in lines}


def _where(part: GivenBack) -> str:
    if part.fate.void_at is not None:
        return "nobody"
    return "linked_grant" if part.fate.is_ended else "grant"


def _went(entry: LedgerTransaction) -> str:
    """Tell from the ledger where credits went on to when they came back."""
    ended = LedgerTransaction.objects.filter(source_key=f"{entry.source_key}:ended").first()
    if ended is None:
        return "grant"
    return "nobody" if ended.kind == LedgerKind.VOIDED else "linked_grant"


def total_of(restored: Restored) -> Decimal:
    """Sum credits over lines."""
    return sum((amount for _, amount in restored), Decimal(0))


def worth_with(currency: str, minor: int, restored: Iterable[RestoredTo]) -> dict[str, int]:
    """Return what credits that come back were paid with, and money beside them, by currency."""
    worth = worth_of(restored)
    worth[currency] = worth.get(currency, 0) + minor
    return worth


def as_money(worth: dict[str, int]) -> list[Money]:
    """Write what was paid, one amount for each currency."""
    return [Money(minor, currency) for currency, minor in sorted(worth.items())]
