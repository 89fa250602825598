"""What overage is worth before it is invoiced, day by day.

Credits beyond the grants come in, money owed goes out. Rounding is cumulative over the billing
period, so that many small uses never round to nothing. Source: IFRS 15.B16, 105; rule 8.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing_project.kernel.money import settle


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
    """Overage of one service day, in credits; negative after an adjustment."""

    service_on: date
    credits: Decimal


@dataclass(frozen=True)
class Accrual:
    """What a day's overage adds to the unbilled receivable, in minor units; may be negative."""

    service_on: date
    amount_minor: int


def accruals(credits_before: Decimal, days: Sequence[DayUse], price: Price) -> Iterator[Accrual]:
    """Accrue each day up to settle(credits so far * price).

    Args:
        credits_before: Overage of the billing period that was accrued already.
        days: What is new, in the order in which it is to be accrued.

    Returns:
        One accrual a day, zero ones included; they sum to the change of the settled total.
    """
    credit_count = credits_before
    for day in days:
        before = price.of(credit_count)
        credit_count += day.credits
        yield Accrual(day.service_on, price.of(credit_count) - before)


def share_of_accrual(credits_before: Decimal, credits_of_line: Decimal, price: Price) -> int:
    """Return how much of the unbilled receivable an invoice line turns into a billed one.

    Args:
        credits_before: Overage of the billing period on lines invoiced before this one.
        credits_of_line: Overage behind this line.

    Returns:
        Minor units. Once every use is on a line, the shares sum to all that was accrued.
    """
    return price.of(credits_before + credits_of_line) - price.of(credits_before)
