"""What overage is worth before it is invoiced, day by day.

Credits beyond the grants come in, money owed goes out. Rounding is cumulative over the billing
period, so that many small uses never round to nothing. What credit notes conceded on the period
lowers its revenue as far as usage earned any. Source: IFRS 15.B16, 105, 87-90; rules 8 and 13.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing_project.kernel.money import settle
from revrec.by_model import Part, cut_by_model


@dataclass(frozen=True)
class Price:
    """What one credit of overage costs: unrounded, in major units."""

    unit_price: Decimal
    currency: str

    def of(self, credit_count: Decimal) -> int:
        """Return the settled price of so many credits, in minor units."""
        return settle(credit_count * self.unit_price, self.currency)


@dataclass(frozen=True)
class DayUse:
    """Overage of one service day by model, in credits; negative after an adjustment."""

    service_on: date
    by_model: Mapping[str | None, Decimal]

    @property
    def credits(self) -> Decimal:
        """All of the day's overage."""
        return sum(self.by_model.values(), Decimal(0))


@dataclass(frozen=True)
class Accrual:
    """What a day's overage earns, and what concessions take off that; either may be negative.

    The unbilled receivable moves by the difference.
    """

    service_on: date
    amount_minor: int
    conceded_minor: int = 0
    by_model: tuple[Part, ...] = ()  # Which model earned how much of the amount.


def accruals(
    credits_before: Decimal, days: Sequence[DayUse], price: Price, conceded_minor: int = 0
) -> Iterator[Accrual]:
    """Accrue each day up to settle(credits so far * price).

    Args:
        credits_before: Overage of the billing period that was accrued already.
        days: What is new, in the order in which it is to be accrued.
        conceded_minor: What credit notes conceded on the billing period so far.

    Returns:
        One accrual a day, zero ones included; they sum to the change of the settled total.
    """
    credit_count = credits_before
    for day in days:
        before = price.of(credit_count)
        parts = cut_by_model(credit_count, day.by_model, price.of)
        credit_count += day.credits
        after = price.of(credit_count)
        conceded = borne(after, conceded_minor) - borne(before, conceded_minor)
        yield Accrual(day.service_on, after - before, conceded, parts)


def borne(used_minor: int, conceded_minor: int) -> int:
    """Return what concessions take off the revenue of a period: never more than its usage earned.

    Where usage is cancelled after a concession on it, the concession goes with it.
    """
    return max(0, min(used_minor, conceded_minor))
