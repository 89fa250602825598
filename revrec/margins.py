"""Recognised revenue and the supplier's cost, laid on what earned and caused them.

Revenue is known by customer and day; what of it a model or a workspace earned is shared by the
credits that its usage was charged. Costs are exact and rounded once, over all rows of a table.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from billing_project.kernel.money import allocate, settle
from billing_project.kernel.quantity import plain
from credits.margins import THIN_PERCENT

K = TypeVar("K", bound=Hashable)
_ZERO, _HUNDRED = Decimal(0), Decimal(100)


NO_RATE = "no rate"


@dataclass(frozen=True)
class Exchange:
    """An approved rate, by which suppliers' money is brought into the currency of revenue.

    Attributes:
        value: What one unit of the rate's currency is worth in the other.
        is_inverse: Whether the rate was approved the other way round, of revenue's currency in
            suppliers': then costs are divided by it.
    """

    value: Decimal
    is_inverse: bool = False

    def of(self, cost: Decimal) -> Decimal:
        """Exchange an exact cost; 13.00 at 0.92 is 11.96, and at one over 1.25 it is 10.40."""
        return cost / self.value if self.is_inverse else cost * self.value

    @property
    def text(self) -> str:
        """Write it as it was approved: 0.92, or 1/1.25."""
        return f"1/{plain(self.value)}" if self.is_inverse else plain(self.value)


def rates_text(rates: Iterable[Exchange], *, is_whole: bool) -> str:
    """Say by which rates a row was exchanged: from the least to the most; "-" by none.

    Args:
        is_whole: Whether no cost of the row lacked its rate.
    """
    if not is_whole:
        return NO_RATE
    used = sorted(set(rates), key=lambda rate: rate.of(Decimal(1)))
    if len(used) < 2:
        return used[0].text if used else "-"
    return f"{used[0].text} to {used[-1].text}"


def shared(amount_minor: int, charges: Mapping[K, Decimal], otherwise: K) -> dict[K, int]:
    """Share revenue by what was charged; the parts sum to it.

    31.00 of a fee, 750 credits of one model and 250 of another: 23.25 and 7.75.

    Args:
        charges: Credits; what is 0 or less after corrections earns nothing.
        otherwise: Who gets it where nothing was charged.
    """
    weights = {key: charge for key, charge in charges.items() if charge > 0}
    if not weights:
        return {otherwise: amount_minor}
    parts = allocate(amount_minor, list(weights.values()))
    return dict(zip(weights, parts, strict=True))


def settled(costs: Mapping[K, Decimal], currency: str) -> dict[K, int]:
    """Round exact costs to minor units so that the rows sum to the rounded total.

    Not each row by itself: a thousand customers at 0.004 each cost 4.00, and would cost nothing.
    So a row may be one minor unit off what it is where it stands alone, as on a customer's page:
    three at 0.004 are 0.01, 0.00 and 0.00 here, and 0.00 each there.

    Args:
        costs: Major units; a negative one (usage that was corrected) is rounded by itself.
    """
    found = {key: settle(cost, currency) for key, cost in costs.items() if cost <= 0}
    weights = {key: cost for key, cost in costs.items() if cost > 0}
    if weights:
        whole = settle(sum(weights.values(), _ZERO), currency)
        parts = allocate(whole, list(weights.values()))
        found |= zip(weights, parts, strict=True)
    return found


def percent_text(revenue_minor: int, cost_minor: int) -> str:
    """Write a margin of 100 of revenue with one decimal; "-" without revenue."""
    if not revenue_minor:
        return "-"
    margin = Decimal(revenue_minor - cost_minor) / revenue_minor * _HUNDRED
    return f"{margin.quantize(Decimal('0.1'))}"


def is_below_floor(revenue_minor: int, cost_minor: int) -> bool:
    """Tell whether less than 20 % of revenue is left; cost without revenue is below any floor."""
    if revenue_minor <= 0:
        return cost_minor > 0
    return Decimal(revenue_minor - cost_minor) * _HUNDRED < THIN_PERCENT * revenue_minor


def share_text(part: Decimal, whole: Decimal) -> str:
    """Write a share of 100 with one decimal; "-" of nothing."""
    return f"{(part / whole * _HUNDRED).quantize(Decimal('0.1'))}" if whole else "-"
