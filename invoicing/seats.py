"""What seats of a period cost, by the day. Changes and a price come in, minor units leave.

A change counts from the local day on which it takes effect. What a period's seats are worth is
settled over all their days at once, so that the order in which changes become known, and how they
are cut, changes no sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.money import Money, prorate
from billing_project.kernel.period import Period
from invoicing.lines import Kind, Line
from invoicing.proration import Part, part_of

_MOST = 10**6


class TooFewSeats(ValueError):
    """More seats would be taken away than there are."""


@dataclass(frozen=True)
class Change:
    """So many seats more, or fewer, from an instant on."""

    effective_at: datetime
    seats: int


@dataclass(frozen=True)
class Pricing:
    """What one seat costs for a whole interval, and the period of it that is charged.

    Attributes:
        interval: None where the period is all of it.
    """

    name: str
    price: Money
    period: Period
    zone: str
    interval: Period | None = None

    def part(self, at: datetime) -> Part:
        """Measure what is left of the period from an instant on, in days of the interval."""
        left = Period(max(at, self.period.start), self.period.end)
        return part_of(self.interval or self.period, left, self.zone)


def seats_at(changes: Sequence[Change], at: datetime) -> int:
    """Return how many seats there are at an instant."""
    return sum(change.seats for change in changes if change.effective_at <= at)


def refuse_too_few(changes: Sequence[Change]) -> None:
    """Check that there are never fewer than no seats, nor more than a million.

    Raises:
        TooFewSeats: with the instant and what would be left then.
    """
    for at in sorted({change.effective_at for change in changes}):
        left = seats_at(changes, at)
        if not 0 <= left <= _MOST:
            raise TooFewSeats(
                f"there would be {left} seats from {at.isoformat()}; 0 to {_MOST} are sold"
            )


def seat_days(changes: Sequence[Change], pricing: Pricing) -> tuple[int, int]:
    """Return the days of all seats of a period, and the days that one seat has in it."""
    period = pricing.period
    whole = pricing.part(period.start)
    days = seats_at(changes, period.start) * whole.days
    for change in changes:
        if period.start < change.effective_at < period.end:
            days += change.seats * pricing.part(change.effective_at).days
    return days, whole.of_days


def worth(changes: Sequence[Change], pricing: Pricing) -> int:
    """Return what a period's seats cost in all: round(price x seat days / days), settled once."""
    days, of_days = seat_days(changes, pricing)
    return prorate(pricing.price.amount_minor, Decimal(days), Decimal(of_days))


def advance_line(seats: int, pricing: Pricing, amount_minor: int) -> Line:
    """Claim the seats that there are when a period begins."""
    part, words = pricing.part(pricing.period.start), pricing.name
    if not part.is_whole:
        words = f"{words}; {part.arithmetic(pricing.price, Decimal(seats))}"
    return Line(
        Kind.SEAT,
        words,
        Decimal(seats),
        "seat",
        pricing.price.decimal,
        amount_minor,
        "seats",
    )


def change_words(changes: Sequence[Change], pricing: Pricing) -> str:
    """Write how changes of a period come about: "3 added, 18 of 30 days x 3 x 20.00"."""
    return "; ".join(_words(change, pricing) for change in changes)


def _words(change: Change, pricing: Pricing) -> str:
    part = pricing.part(change.effective_at)
    count = abs(change.seats)
    verb = "added" if change.seats > 0 else "removed"
    return f"{count} {verb}, {part.arithmetic(pricing.price, Decimal(count))}"
