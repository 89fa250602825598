"""What a part of a period costs: by day, in the customer's time zone.

A period and a part of it enter; the part's days, its share of a price or of credits, and the
arithmetic as text leave. A day belongs to the part that begins on it. Rounding is cumulative, so
that the shares of parts which follow one another always sum to the whole. What is charged or
credited, and when, is not decided here.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing_project.kernel.money import Money, prorate
from billing_project.kernel.period import Period
from billing_project.kernel.quantity import plain, round_unrounded

_ONE = Decimal(1)


@dataclass(frozen=True)
class Part:
    """So many days of a period that has `of_days`, after `before` days of it.

    Fractions stay exact: days of the part over days of the period.
    """

    before: int
    days: int
    of_days: int

    def __post_init__(self) -> None:
        if self.before < 0 or self.days < 0 or not 0 < self.of_days >= self.before + self.days:
            raise ValueError("a part lies within its period, which has a day at least")

    @property
    def is_whole(self) -> bool:
        """Whether the part is all of its period."""
        return self.days == self.of_days

    def minor(self, price_minor: int) -> int:
        """Return the part's share of the whole period's price, in minor units.

        What the price is worth through the part's last day, less what it was worth before it: the
        share of a part does not depend on how the rest is cut. Source: accounting.md 5.1.
        """
        of_days = Decimal(self.of_days)
        through = prorate(price_minor, Decimal(self.before + self.days), of_days)
        return through - prorate(price_minor, Decimal(self.before), of_days)

    def amount(self, price: Money) -> Money:
        """Return the part's share of the whole period's price."""
        return Money(self.minor(price.amount_minor), price.currency)

    def credits(self, whole: Decimal) -> Decimal:
        """Return the part's share of the whole period's credits, to 12 decimals."""
        return self._worth(whole, self.before + self.days) - self._worth(whole, self.before)

    def arithmetic(self, price: Money, quantity: Decimal = _ONE) -> str:
        """Write how the share comes about: "18 of 30 days x 90.00", or "... x 3 x 30.00"."""
        count = f"{plain(quantity)} x " if quantity != 1 else ""
        return f"{self.days} of {self.of_days} days x {count}{price.decimal:f}"

    def _worth(self, whole: Decimal, days: int) -> Decimal:
        return round_unrounded(whole * days / self.of_days)


def part_of(period: Period, part: Period, zone: str) -> Part:
    """Measure a part of a period in days of the customer's time zone.

    The days of [start, end) are the local dates from the start's up to, and without, the end's: a
    change in the middle of a day gives that day to what begins. Days of 23 or 25 hours count once.
    Parts that follow one another share no day; one within a day has none.

    Args:
        part: Within the period, bounds included.
        zone: The customer's IANA time zone.

    Raises:
        ValueError: the part reaches out of the period, or the period lies within one local day.
    """
    if part.start < period.start or part.end > period.end:
        raise ValueError("a part lies within its period")
    first = _day(period.start, zone)
    begins, ends = _day(part.start, zone), _day(part.end, zone)
    return Part(
        before=(begins - first).days,
        days=(ends - begins).days,
        of_days=(_day(period.end, zone) - first).days,
    )


def since(period: Period, at: datetime, zone: str) -> Part:
    """Measure what is left of a period from an instant in it on; all of it at its start."""
    return part_of(period, Period(at, period.end), zone)


def _day(at: datetime, zone: str) -> date:
    return at.astimezone(ZoneInfo(zone)).date()
