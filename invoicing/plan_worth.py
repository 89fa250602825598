"""What a period comes to under a plan's terms: usage in, its claims out. No tables.

It simulates: what other grants paid stays as it was, the included credits pay next, and seats are
those of the whole period. A commit counts with its share of one period of its term. What is sold
once (one-off fees, packs) and outcomes are the same under either terms, and left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import Money, settle
from invoicing.discounts import Offer, discounted
from invoicing.items import Item
from invoicing.lines import BEYOND, Kind, Line, fee_line

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Worth:
    """The terms of a plan that decide what a period comes to.

    Attributes:
        overage_price: Major units for one credit beyond.
        name: Of the plan, as its fee's line says it.
        unit: Of the credits.
    """

    currency: str
    fee_minor: int
    included_credits: Decimal
    overage_price: Decimal
    items: tuple[Item, ...] = ()
    name: str = "Base fee"
    unit: str = "credit"


@dataclass(frozen=True)
class Usage:
    """What a period used, in credits: its whole charge, and what grants beside the plan paid.

    Attributes:
        index: Of the period in its subscription, from 0: discounts end after some.
    """

    charge: Decimal
    paid_otherwise: Decimal
    seats: int = 0
    index: int = 0


@dataclass(frozen=True)
class Bill:
    """What a period is charged, ex tax, in minor units, part by part.

    Attributes:
        discounts: What they take off, at most 0.
        commit: What is missing to one period's share of it.
    """

    currency: str
    fees: int
    seats: int
    overage: int
    discounts: int
    commit: int

    @property
    def total(self) -> Money:
        """The sum of the parts."""
        parts = (self.fees, self.seats, self.overage, self.discounts, self.commit)
        return Money(sum(parts), self.currency)


def period_lines(worth: Worth, usage: Usage) -> list[Line]:
    """Return what a period claims, line by line, settled as on the invoice; discounts taken off."""
    overage = overage_of(worth, usage)
    claimed = settle(overage * worth.overage_price, worth.currency)
    fee = fee_line(worth.name, Money(worth.fee_minor, worth.currency), worth.included_credits)
    lines = [fee, _overage(worth, overage, claimed)]
    for item in worth.items:
        if item.kind == "recurring":
            lines.append(_of_item(Kind.RECURRING, item, 1, "period", worth.currency))
        elif item.kind == "seat":
            lines.append(_of_item(Kind.SEAT, item, usage.seats, "seat", worth.currency))
    offers = [
        Offer(item.name, item.percent, item.amount_minor, item.kinds)
        for item in worth.items
        if item.kind == "discount" and (not item.periods or usage.index < item.periods)
    ]
    commits = [
        Line(Kind.COMMIT_SHORTFALL, item.name, Decimal(1), "commit", _ZERO, _missing(item, lines))
        for item in worth.items
        if item.kind == "commit"
    ]
    return [*discounted(lines, offers, worth.currency), *commits]


def overage_of(worth: Worth, usage: Usage) -> Decimal:
    """Return the credits that neither other grants nor the included ones cover."""
    needed = max(usage.charge - usage.paid_otherwise, _ZERO)
    return max(needed - worth.included_credits, _ZERO)


def bill_of(lines: Iterable[Line], currency: str) -> Bill:
    """Sum lines by what they claim."""
    found = list(lines)
    return Bill(
        currency,
        fees=_sum(found, Kind.RECURRING),
        seats=_sum(found, Kind.SEAT),
        overage=_sum(found, Kind.OVERAGE),
        discounts=-sum(line.discount_minor for line in found),
        commit=_sum(found, Kind.COMMIT_SHORTFALL),
    )


def period_bill(worth: Worth, usage: Usage) -> Bill:
    """Return what a period is charged, settled as on the invoice."""
    return bill_of(period_lines(worth, usage), worth.currency)


def _sum(lines: Iterable[Line], kind: Kind) -> int:
    """Sum what lines of a kind claim before discounts."""
    return sum(line.amount_minor + line.discount_minor for line in lines if line.kind == kind)


def _missing(item: Item, lines: Iterable[Line]) -> int:
    """Return what one period's share of a commit is more than what counts toward it."""
    counted = sum(line.amount_minor for line in lines if line.kind in item.kinds)
    return max(item.amount_minor // item.periods - counted, 0)


def _overage(worth: Worth, credit_count: Decimal, claimed: int) -> Line:
    price, unit = worth.overage_price, worth.unit
    return Line(Kind.OVERAGE, BEYOND, credit_count, unit, price, claimed)


def _of_item(kind: Kind, item: Item, count: int, unit: str, currency: str) -> Line:
    price = Money(item.amount_minor, currency).decimal
    return Line(kind, item.name, Decimal(count), unit, price, item.amount_minor * count)
