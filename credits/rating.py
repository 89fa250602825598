"""Rate usage: which rate fits, and what a change of quantity adds to what was charged already.

Charges are cumulative and rounded to 12 decimals as a whole; what is posted is the difference to
what was posted before, so that the sum never depends on how usage was cut in time.
Knows no customers, grants or money.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations

from credits.tariff import Charge, Tariff, change_of_tiers


class AmbiguousRate(ValueError):
    """Two equally specific rates match the same usage."""


@dataclass(frozen=True)
class RatedSoFar:
    """What was rated at one rate in one billing period until now."""

    quantity: Decimal = Decimal(0)
    charge: Decimal = Decimal(0)

    def plus(self, quantity: Decimal, charge: Decimal) -> "RatedSoFar":
        """Return the state after one more difference."""
        return RatedSoFar(self.quantity + quantity, self.charge + charge)


@dataclass(frozen=True)
class RateOption:
    """One rate of a version, and the dimensions that it asks for."""

    id: int
    dimensions: Mapping[str, str]


def charge_difference(so_far: RatedSoFar, quantity: Decimal, tariff: Tariff) -> Charge:
    """Price a change of quantity: the charge of all of it, less what was charged already.

    Args:
        so_far: What the period was charged by this tariff.
        quantity: Change in the meter's unit; negative after a correction.

    Returns:
        Credits with 12 decimals, and what changed in each tier. Negative where the whole costs
        less now: after a correction, or where growth reaches a cheaper volume tier.

    Raises:
        ChargeOutOfBounds: the whole is 10**26 credits or more.
    """
    before, after = tariff.charge(so_far.quantity), tariff.charge(so_far.quantity + quantity)
    return Charge(after.total - so_far.charge, change_of_tiers(before.tiers, after.tiers))


def match_rate(rates: Iterable[RateOption], dimensions: Mapping[str, str]) -> RateOption | None:
    """Find the rate that asks for most of what the usage has; None if none matches.

    Raises:
        AmbiguousRate: two rates match equally closely.
    """
    matching = [rate for rate in rates if rate.dimensions.items() <= dimensions.items()]
    if not matching:
        return None
    most = max(len(rate.dimensions) for rate in matching)
    closest = [rate for rate in matching if len(rate.dimensions) == most]
    if len(closest) > 1:
        raise AmbiguousRate(f"{len(closest)} rates match {dict(dimensions)} equally")
    return closest[0]


def ambiguous_pair(
    dimensions: Sequence[Mapping[str, str]],
) -> tuple[Mapping[str, str], Mapping[str, str]] | None:
    """Find two dimension sets of one meter that could match the same usage equally closely."""
    for one, other in combinations(dimensions, 2):
        shared = one.keys() & other.keys()
        if len(one) == len(other) and all(one[key] == other[key] for key in shared):
            return one, other
    return None
