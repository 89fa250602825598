"""Say what a quantity of one rate costs: cumulative quantity and tariff in, charge and tiers out.

Every pricing model is one function of the quantity since the billing period began, so that a charge
never depends on how usage was cut in time, or in which order its parts came. A total is rounded
once, to 12 decimals; its tiers are cut from it by cumulative rounding, so that they sum to it.
Knows no customers, periods or money.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from billing_project.kernel.quantity import plain, round_unrounded

CHARGE_LIMIT = Decimal(10) ** 26  # What numeric(38,12) holds before the point.
_ZERO = Decimal(0)


class ChargeOutOfBounds(ValueError):
    """The charge is larger than can be stored; no real price and quantity make it."""


@dataclass(frozen=True)
class Tier:
    """A stretch of quantity at one unit price, and what it comes to.

    `name` tells the steps of one charge apart ("tier 2", "included", "minimum"); a plain unit price
    has none. Fees and bounds have no quantity and no unit price; of a package, both count packages.
    """

    quantity: Decimal
    unit_price: Decimal
    charge: Decimal
    name: str = ""


@dataclass(frozen=True)
class Charge:
    """A charge with the tiers that explain it; the tiers sum to the total."""

    total: Decimal
    tiers: tuple[Tier, ...]


class Formula(Protocol):
    """One pricing model with its terms."""

    def steps(self, quantity: Decimal) -> Iterator[Tier]:
        """Yield what a quantity above 0 costs, step by step, exact and unrounded."""


@dataclass(frozen=True)
class PerUnit:
    """Each unit costs the same: quantity x unit price."""

    unit_price: Decimal

    def steps(self, quantity: Decimal) -> Iterator[Tier]:
        """Yield one step."""
        yield Tier(quantity, self.unit_price, quantity * self.unit_price)


@dataclass(frozen=True)
class Package:
    """Units come in packages; one that was begun is charged whole."""

    size: Decimal
    price: Decimal

    def steps(self, quantity: Decimal) -> Iterator[Tier]:
        """Yield the packages that the quantity begins."""
        count = quantity // self.size + (1 if quantity % self.size else 0)
        yield Tier(count, self.price, count * self.price, f"packages of {plain(self.size)}")


@dataclass(frozen=True)
class Step:
    """A tier as it was agreed: through `up_to`, that itself included; None leaves it open."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_fee: Decimal = _ZERO


@dataclass(frozen=True)
class Graduated:
    """Each unit costs the price of the tier that it falls in, and each tier begun its fee.

    Source: Stripe, graduated tiers.
    """

    tiers: tuple[Step, ...]  # Ascending; only the last one is open.

    def steps(self, quantity: Decimal) -> Iterator[Tier]:
        """Yield each tier that the quantity reaches, the lowest first."""
        below = _ZERO
        for number, tier in enumerate(self.tiers, start=1):
            upper = quantity if tier.up_to is None else min(quantity, tier.up_to)
            yield from _of_tier(tier, f"tier {number}", upper - below)
            if upper == quantity:
                return
            below = upper


@dataclass(frozen=True)
class Volume:
    """All units cost the price of the tier that the whole quantity falls in, with its fee.

    More usage may cost less: that lowers the charge. Source: Stripe, volume tiers.
    """

    tiers: tuple[Step, ...]  # Ascending; only the last one is open.

    def steps(self, quantity: Decimal) -> Iterator[Tier]:
        """Yield the one tier that the quantity falls in."""
        for number, tier in enumerate(self.tiers, start=1):
            if tier.up_to is None or quantity <= tier.up_to:
                yield from _of_tier(tier, f"tier {number}", quantity)
                return


@dataclass(frozen=True)
class FlatFee:
    """One fee for the billing period, charged with its first usage."""

    fee: Decimal

    def steps(self, quantity: Decimal) -> Iterator[Tier]:
        """Yield the fee."""
        yield _fixed("flat fee", self.fee)


@dataclass(frozen=True)
class Percentage:
    """A share of what is metered, where that is a value in the pricing unit."""

    percent: Decimal

    def steps(self, quantity: Decimal) -> Iterator[Tier]:
        """Yield one step; its unit price is the share of 1."""
        share = self.percent.scaleb(-2)
        yield Tier(quantity, share, quantity * share, f"{plain(self.percent)} %")


@dataclass(frozen=True)
class Tariff:
    """One rate's price for a billing period's quantity.

    Attributes:
        formula: What is above the allowance costs.
        included: Free quantity; the formula sees only what is above it.
        minimum: Least charge of a period that has any usage, within the allowance too.
        maximum: Most charge of a period.
    """

    formula: Formula
    included: Decimal = _ZERO
    minimum: Decimal | None = None
    maximum: Decimal | None = None

    def charge(self, quantity: Decimal) -> Charge:
        """Price a cumulative quantity.

        Args:
            quantity: In the meter's unit, since the period's start; 0 or less costs nothing.

        Returns:
            Credits, rounded to 12 decimals once, with every tier that was used.

        Raises:
            ChargeOutOfBounds: 10**26 credits or more.
        """
        if quantity <= 0:
            return Charge(_ZERO, ())
        steps = list(self._metered(quantity))
        exact = sum((step.charge for step in steps), _ZERO)
        if self.minimum is not None and exact < self.minimum:
            steps.append(_fixed("minimum", self.minimum - exact))
        elif self.maximum is not None and exact > self.maximum:
            steps.append(_fixed("maximum", self.maximum - exact))
        return _rounded(steps)

    def _metered(self, quantity: Decimal) -> Iterator[Tier]:
        free = min(quantity, self.included)
        if free:
            yield Tier(free, _ZERO, _ZERO, "included")
        if quantity > free:
            yield from self.formula.steps(quantity - free)


def change_of_tiers(before: Iterable[Tier], after: Iterable[Tier]) -> tuple[Tier, ...]:
    """Tell two charges of one tariff apart, tier by tier; the parts sum to their difference.

    A tier that is left (volume) or shrinks (a correction) has negative quantity and charge.
    """
    gone = {tier.name: tier for tier in before}
    now = {tier.name: tier for tier in after}
    changes = []
    for name in dict.fromkeys([*gone, *now]):
        old, new = gone.get(name), now.get(name)
        known = new or old
        assert known is not None, "the name comes from one of them"
        quantity = (new.quantity if new else _ZERO) - (old.quantity if old else _ZERO)
        charge = (new.charge if new else _ZERO) - (old.charge if old else _ZERO)
        if quantity or charge:
            changes.append(Tier(quantity, known.unit_price, charge, name))
    return tuple(changes)


def _of_tier(tier: Step, name: str, quantity: Decimal) -> Iterator[Tier]:
    yield Tier(quantity, tier.unit_price, quantity * tier.unit_price, name)
    if tier.flat_fee:
        yield _fixed(f"{name} fee", tier.flat_fee)


def _fixed(name: str, charge: Decimal) -> Tier:
    return Tier(_ZERO, _ZERO, charge, name)


def _rounded(steps: Iterable[Tier]) -> Charge:
    """Round the total once; each tier is what it adds to the rounded sum so far."""
    tiers, exact, total = [], _ZERO, _ZERO
    for step in steps:
        exact += step.charge
        if abs(exact) >= CHARGE_LIMIT:
            raise ChargeOutOfBounds(f"{step.quantity} at {step.unit_price} in {step.name or 'all'}")
        rounded = round_unrounded(exact)
        tiers.append(Tier(step.quantity, step.unit_price, rounded - total, step.name))
        total = rounded
    return Charge(total, tuple(tiers))
