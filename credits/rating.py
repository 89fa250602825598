"""Price quantities: a cumulative quantity and its rate in, a charge in credits out.

Charges are cumulative and rounded to 12 decimals as a whole; what is posted is the difference to
what was posted before, so that the sum never depends on how usage was cut in time.
Knows no customers, grants or money.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations

from billing_project.kernel.quantity import round_unrounded

CHARGE_LIMIT = Decimal(10) ** 26  # What numeric(38,12) holds before the point.


class AmbiguousRate(ValueError):
    """Two equally specific rates match the same usage."""


class ChargeOutOfBounds(ValueError):
    """The charge is larger than can be stored; no real price and quantity make it."""


@dataclass(frozen=True)
class Tier:
    """A stretch of quantity at one unit price, and what it comes to."""

    quantity: Decimal
    unit_price: Decimal
    charge: Decimal


@dataclass(frozen=True)
class Charge:
    """A charge with the tiers that explain it; the tiers sum to the total."""

    total: Decimal
    tiers: tuple[Tier, ...]


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
    """One rate of a version: the dimensions that it asks for, and its unit price."""

    id: int
    dimensions: Mapping[str, str]
    unit_price: Decimal


def charge_of(quantity: Decimal, unit_price: Decimal) -> Charge:
    """Price a whole cumulative quantity at a flat price.

    Args:
        quantity: In the meter's unit, since the period's start.
        unit_price: Credits per unit, >= 0, at most 18 decimals.

    Returns:
        Credits, rounded to 12 decimals once.

    Raises:
        ChargeOutOfBounds: 10**26 credits or more.
    """
    exact = quantity * unit_price
    if abs(exact) >= CHARGE_LIMIT:
        raise ChargeOutOfBounds(f"{quantity} at {unit_price}")
    total = round_unrounded(exact)
    return Charge(total, (Tier(quantity, unit_price, total),) if quantity else ())


def charge_difference(so_far: RatedSoFar, quantity: Decimal, unit_price: Decimal) -> Charge:
    """Price a change of quantity: the charge of all of it, less what was charged already.

    Args:
        so_far: What the period was charged at this rate.
        quantity: Change in the meter's unit; negative after a correction.
        unit_price: Credits per unit.

    Returns:
        Credits with 12 decimals, of the change's sign or zero.
    """
    total = charge_of(so_far.quantity + quantity, unit_price).total - so_far.charge
    return Charge(total, (Tier(quantity, unit_price, total),) if quantity else ())


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
