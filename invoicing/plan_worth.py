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
from invoicing.lines import Kind, Line

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Worth:
    """The terms of a plan that decide what a period comes to.

    Attributes:
        overage_price: Major units for one credit beyond.
    """

    currency: str
    fee_minor: int
    included_credits: Decimal
    overage_price: Decimal
    items: tuple[Item, ...] = ()


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


def period_bill(worth: Worth, usage: Usage) -> Bill:
    """Return what a period is charged, settled as on the invoice."""
    needed = max(usage.charge - usage.paid_otherwise, _ZERO)
    overage = max(needed - worth.included_credits, _ZERO)
    claimed = settle(overage * worth.overage_price, worth.currency)
    lines = [_line(Kind.RECURRING, worth.fee_minor), _line(Kind.OVERAGE, claimed)]
    for item in worth.items:
        if item.kind == "recurring":
            lines.append(_line(Kind.RECURRING, item.amount_minor))
        elif item.kind == "seat":
            lines.append(_line(Kind.SEAT, item.amount_minor * usage.seats))
    offers = [
        Offer(item.name, item.percent, item.amount_minor, item.kinds)
        for item in worth.items
        if item.kind == "discount" and (not item.periods or usage.index < item.periods)
    ]
    left = discounted(lines, offers, worth.currency)
    return Bill(
        worth.currency,
        fees=_sum(lines, Kind.RECURRING),
        seats=_sum(lines, Kind.SEAT),
        overage=claimed,
        discounts=sum(one.amount_minor for one in left) - sum(one.amount_minor for one in lines),
        commit=sum(_missing(item, lines) for item in worth.items if item.kind == "commit"),
    )


def _sum(lines: Iterable[Line], kind: Kind) -> int:
    return sum(line.amount_minor for line in lines if line.kind == kind)


def _missing(item: Item, lines: Iterable[Line]) -> int:
    """Return what one period's share of a commit is more than what counts toward it."""
    counted = sum(line.amount_minor for line in lines if line.kind in item.kinds)
    return max(item.amount_minor // item.periods - counted, 0)


def _line(kind: Kind, amount_minor: int) -> Line:
    return Line(kind, str(kind), Decimal(1), "", _ZERO, amount_minor)
