"""What a period's usage earns and costs under a plan's terms: a what-if, with no tables.

Credits of each day, a supplier's cost and terms come in; lines, revenue by day, the margin, where
it breaks even and what is wrong with the package go out. Lines are those of an invoice, revenue is
recognised as the books do: fees by the day, overage as it is used, a shortfall on the last day,
credits that were paid for as they are drawn.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.money import Money, allocate, settle
from billing_project.kernel.period import DAY, Period
from credits.drawdown import GrantState, Use, draw_down
from credits.margins import THIN_PERCENT, Margin
from invoicing.items import Item
from invoicing.lines import Kind, Line
from invoicing.plan_worth import Bill, Usage, Worth, bill_of, period_lines
from revrec.schedule import straight_line

_ZERO = Decimal(0)
_BY_THE_DAY = (Kind.RECURRING, Kind.SEAT)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Trigger(StrEnum):
    """What a scenario should make somebody look at."""

    THIN_BASE = "base package is too thin"
    UNDER_WATER = "heavy user under water"
    LOSING_OVERAGE = "each credit beyond loses money"


@dataclass(frozen=True)
class Workload:
    """One period's usage, priced in credits and by the supplier.

    Attributes:
        so_far: Credits charged by the end of each day; the last is the whole charge.
        cost: The supplier's, major units of the plan's currency, exact.
        paid_otherwise: Credits that other grants paid.
        paid_cost: What those of them cost their buyer that were paid for, major units.
        uncosted: Models and kinds without a supplier's price, "gpt-9 output".
        unrated: Usage that no rate prices.
    """

    name: str
    so_far: tuple[Decimal, ...]
    cost: Decimal
    paid_otherwise: Decimal = _ZERO
    paid_cost: Decimal = _ZERO
    seats: int = 0
    index: int = 0
    calls: int | None = None
    tokens: int = 0
    uncosted: tuple[str, ...] = ()
    unrated: tuple[str, ...] = ()

    @property
    def charge(self) -> Decimal:
        """Credits of the whole period."""
        return self.so_far[-1]


@dataclass(frozen=True)
class Outcome:
    """What came of a workload under terms.

    Attributes:
        included_used: Credits of the plan that were drawn.
        spent_on_day: The day, from 1, on which the included credits ran out; None: they did not.
        revenue_by_day: Minor units; they sum to what is billed plus what paid credits earned.
        break_even: Credits from which on the margin is negative; None: at no usage of this kind.
        even_fee_minor: The fee at which this workload's margin would be nothing, at least 0.
    """

    workload: Workload
    worth: Worth
    included_used: Decimal
    overage: Decimal
    spent_on_day: int | None
    lines: tuple[Line, ...]
    bill: Bill
    revenue_by_day: tuple[int, ...]
    margin: Margin
    break_even: Decimal | None
    even_fee_minor: int
    triggers: tuple[Trigger, ...]

    @property
    def revenue(self) -> Money:
        """What the whole period recognises."""
        return Money(sum(self.revenue_by_day), self.worth.currency)


def outcome_of(workload: Workload, worth: Worth) -> Outcome:
    """Bill a workload, recognise it day by day, and hold it against its cost."""
    usage = Usage(workload.charge, workload.paid_otherwise, workload.seats, workload.index)
    drawn = [_drawn(so_far, workload, worth) for so_far in workload.so_far]
    included, overage = drawn[-1]
    lines = tuple(period_lines(worth, usage))
    bill = bill_of(lines, worth.currency)
    revenue = _by_day(workload, worth, lines, [beyond for _, beyond in drawn])
    margin = Margin(Money(sum(revenue), worth.currency).decimal, workload.cost)
    spent = next((day for day, (_, beyond) in enumerate(drawn, start=1) if beyond > 0), None)
    even = break_even(workload, worth)
    return Outcome(
        workload=workload,
        worth=worth,
        included_used=included,
        overage=overage,
        spent_on_day=spent if worth.included_credits else None,
        lines=lines,
        bill=bill,
        revenue_by_day=tuple(revenue),
        margin=margin,
        break_even=even,
        even_fee_minor=max(worth.fee_minor - settle(margin.amount, worth.currency), 0),
        triggers=tuple(_triggers(workload, worth, margin, overage)),
    )


def break_even(workload: Workload, worth: Worth) -> Decimal | None:
    """Return from how many credits on a period of this kind of usage loses money.

    Credits cost what they cost on average in this workload; revenue is that of the plan alone, not
    rounded. Between the points where the terms bend, both are straight: the first segment whose end
    is negative holds the crossing.

    A fee of 100 with 1,000 credits, 0.30 beyond, at a cost of 0.20: 1,000 credits cost 200, so that
    it is lost from 100 / 0.20 = 500 credits on.

    Returns:
        Credits, >= 0, exact but for the division; None where no usage of this kind loses.
    """
    if not workload.charge:
        return None
    each = workload.cost / workload.charge
    bends = sorted({_ZERO, worth.included_credits, *_bends_of_commits(worth, workload)})
    margins = [_margin_at(count, each, worth, workload) for count in bends]
    for (low, before), (high, after) in zip(
        zip(bends, margins, strict=True), zip(bends[1:], margins[1:], strict=True), strict=False
    ):
        if after < 0:
            return low + (high - low) * before / (before - after)
    loss = each - worth.overage_price  # Of each credit beyond the last bend.
    return bends[-1] + margins[-1] / loss if loss > 0 else None


def _drawn(so_far: Decimal, workload: Workload, worth: Worth) -> tuple[Decimal, Decimal]:
    """Return the included credits drawn, and the overage, of what was charged so far."""
    needed = max(so_far - workload.paid_otherwise, _ZERO)
    grant = GrantState(
        1, worth.included_credits, 50, is_paid=False, effective_at=_EPOCH, expires_at=None,
        created_at=_EPOCH, amount=worth.included_credits,
    )  # fmt: skip
    hour = Period(_EPOCH, _EPOCH + timedelta(hours=1))
    found = draw_down(needed, [grant], Use(hour, None, ""))
    return found.drawn, found.overage


def _by_day(
    workload: Workload, worth: Worth, lines: Iterable[Line], beyond: Sequence[Decimal]
) -> list[int]:
    """Recognise each line on its days; the days sum to the lines, and to what paid credits cost."""
    days = len(workload.so_far)
    found = [0] * days
    first = _EPOCH.date()
    for line in lines:
        if line.kind in _BY_THE_DAY:
            spread = straight_line(line.amount_minor, first, first + days * DAY)
            parts = [day.amount_minor for day in spread]
        elif line.kind == Kind.OVERAGE:
            reached = [settle(count * worth.overage_price, worth.currency) for count in beyond]
            parts = [now - then for now, then in zip(reached, [0, *reached], strict=False)]
        else:
            parts = [0] * (days - 1) + [line.amount_minor]
        found = [old + new for old, new in zip(found, parts, strict=True)]
    if paid := settle(workload.paid_cost, worth.currency):
        used = [now - then for now, then in zip(workload.so_far, [_ZERO, *workload.so_far],
                                                strict=False)]  # fmt: skip
        weights: Sequence[Decimal | int] = [max(one, _ZERO) for one in used]
        parts = allocate(paid, weights if any(weights) else [1] * days)
        found = [old + new for old, new in zip(found, parts, strict=True)]
    return found


def _triggers(
    workload: Workload, worth: Worth, margin: Margin, overage: Decimal
) -> Iterable[Trigger]:
    """Name what is wrong: with the base package, with this user, with each credit beyond."""
    if not workload.charge:
        return
    each = workload.cost / workload.charge
    included = worth.included_credits
    if included:
        base = Margin(_revenue_at(included, worth, workload), each * included)
        percent = base.percent
        if base.amount < 0 or (percent is not None and percent < THIN_PERCENT):
            yield Trigger.THIN_BASE
    if margin.amount < 0 and overage > 0:
        yield Trigger.UNDER_WATER
    if worth.overage_price < each:
        yield Trigger.LOSING_OVERAGE


def _margin_at(count: Decimal, each: Decimal, worth: Worth, workload: Workload) -> Decimal:
    return _revenue_at(count, worth, workload) - each * count


def _revenue_at(count: Decimal, worth: Worth, workload: Workload) -> Decimal:
    """Return what so many credits earn, the overage not rounded.

    The plan is billed with one credit's overage price left out, and that is added exactly.
    """
    beyond = max(count - worth.included_credits, _ZERO) * worth.overage_price
    whole = _fixed(worth, workload)
    shares = _ZERO
    for item, counted in _commits(worth, workload):
        reached = counted + (beyond if "overage" in item.kinds else _ZERO)
        share = Money(item.amount_minor // item.periods, worth.currency).decimal
        shares += max(share - reached, _ZERO)
    return whole + beyond + shares


def _fixed(worth: Worth, workload: Workload) -> Decimal:
    """Return fees and seats less discounts: what does not hang on usage."""
    lines = _without_usage(worth, workload)
    total = sum(line.amount_minor for line in lines if line.kind in _BY_THE_DAY)
    return Money(total, worth.currency).decimal


def _commits(worth: Worth, workload: Workload) -> list[tuple[Item, Decimal]]:
    """List commits with what counts toward them whatever is used."""
    lines = _without_usage(worth, workload)

    def counted(item: Item) -> Decimal:
        """Sum lines before discounts."""
        claims = (line.amount_minor + line.discount_minor for line in lines
                  if line.kind in item.kinds)  # fmt: skip
        return Money(sum(claims), worth.currency).decimal

    return [(item, counted(item)) for item in worth.items if item.kind == "commit"]


def _bends_of_commits(worth: Worth, workload: Workload) -> Iterable[Decimal]:
    """Yield the credits at which a commit is met by overage."""
    for item, counted in _commits(worth, workload):
        share = Money(item.amount_minor // item.periods, worth.currency).decimal
        if "overage" in item.kinds and share > counted and worth.overage_price:
            yield worth.included_credits + (share - counted) / worth.overage_price


def _without_usage(worth: Worth, workload: Workload) -> list[Line]:
    usage = Usage(_ZERO, _ZERO, workload.seats, workload.index)
    return [line for line in period_lines(worth, usage) if line.kind != Kind.COMMIT_SHORTFALL]
