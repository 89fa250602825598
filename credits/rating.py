"""Rate usage: which rate fits, and what a change of quantity adds to what was charged already.

Charges are cumulative and rounded to 12 decimals as a whole; what is posted is the difference to
what was posted before, so that the sum never depends on how usage was cut in time.
Knows no customers, grants or money.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations_with_replacement

from credits.tariff import Charge, Tariff, Tier, change_of_tiers


class AmbiguousRate(ValueError):
    """Two equally specific rates match the same usage."""


WORKSPACE = "workspace"  # What a rate calls the workspace that used, by its external id.


@dataclass(frozen=True)
class RatedSoFar:
    """What was rated at one rate in one billing period until now.

    `tiers` are those that the whole quantity comes to, where they were computed just before.
    """

    quantity: Decimal = Decimal(0)
    charge: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] | None = field(default=None, compare=False)

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
    return advance(so_far, quantity, tariff)[0]


def advance(so_far: RatedSoFar, quantity: Decimal, tariff: Tariff) -> tuple[Charge, RatedSoFar]:
    """Price a change of quantity as `charge_difference`; return the state after it, too.

    The state keeps its tiers, so that the next change does not price the same whole again.
    """
    before = tariff.charge(so_far.quantity).tiers if so_far.tiers is None else so_far.tiers
    after = tariff.charge(so_far.quantity + quantity)
    charge = Charge(after.total - so_far.charge, change_of_tiers(before, after.tiers))
    return charge, RatedSoFar(so_far.quantity + quantity, after.total, after.tiers)


def asked_of(dimensions: Mapping[str, str], workspace: str) -> Mapping[str, str]:
    """Return what rates may ask for: the dimensions, and the workspace where none is called so."""
    return {WORKSPACE: workspace, **dimensions} if workspace else dimensions


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
    """Find two dimension sets of one meter that could match the same usage equally closely.

    They name as many dimensions, and agree in those that both name. Sets that name the same ones
    are compared at once, so that a matrix of thousands of cells is one look.
    """
    by_names: dict[frozenset[str], list[int]] = {}
    for index, one in enumerate(dimensions):
        by_names.setdefault(frozenset(one), []).append(index)
    pairs = [
        pair
        for some, others in combinations_with_replacement(by_names, 2)
        if len(some) == len(others)
        and (pair := _agreeing(dimensions, by_names[some], by_names[others], some & others))
    ]
    if not pairs:
        return None
    first, second = min(pairs)
    return dimensions[first], dimensions[second]


def _agreeing(
    dimensions: Sequence[Mapping[str, str]],
    some: Sequence[int],
    others: Sequence[int],
    names: Iterable[str],
) -> tuple[int, int] | None:
    """Find one of some sets and another one of others with equal values under shared names."""
    shared = sorted(names)
    seen: dict[tuple[str, ...], int] = {}
    for index in some:
        first = seen.setdefault(tuple(dimensions[index][name] for name in shared), index)
        if some is others and first != index:
            return first, index
    for index in others:
        found = seen.get(tuple(dimensions[index][name] for name in shared))
        if found is not None and found != index:
            return min(found, index), max(found, index)
    return None
