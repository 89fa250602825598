"""A contract changes: what becomes revenue now, and what the rest costs from here on.

Source: IFRS 15.18-21, 87-90 (606-10-25-10 to 25-13, 32-42 to 32-45); accounting.md 1.6.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.money import exponent, prorate


class Treatment(StrEnum):
    """What a change is to the books."""

    SEPARATE = "separate"  # A contract of its own; the old one runs on (20).
    PROSPECTIVE = "prospective"  # The old one ends, what is left of it joins the new (21a).
    CATCH_UP = "catch_up"  # One promise, partly kept: revenue is what it would have been (21b).


def treatment(*, adds_distinct: bool, at_ssp: bool, rest_is_distinct: bool) -> Treatment:
    """Return how a change is accounted for.

    Args:
        adds_distinct: It adds services that are distinct.
        at_ssp: They are priced as they would be alone.
        rest_is_distinct: What is still to be delivered is distinct from what was; so it is in a
            series, such as a subscription.
    """
    if adds_distinct and at_ssp:
        return Treatment.SEPARATE
    return Treatment.PROSPECTIVE if rest_is_distinct else Treatment.CATCH_UP


@dataclass(frozen=True)
class Blend:
    """What is left of the old price and what was added, over what is still to be delivered."""

    price_minor: int
    units: Decimal

    def unit_price(self, currency: str) -> Decimal:
        """Return what a unit costs from now on: unrounded, in major units."""
        return Decimal(self.price_minor).scaleb(-exponent(currency)) / self.units

    def earned(self, delivered: Decimal) -> int:
        """Return what so many units have earned since the change, in minor units."""
        return prorate(self.price_minor, delivered, self.units)


def blended(
    *, unrecognised_minor: int, units_left: Decimal, added_minor: int, added_units: Decimal
) -> Blend:
    """Join what is left of the old contract with what was agreed anew, for the time to come.

    Args:
        unrecognised_minor: Of the old price, after any part that concerns past performance.
        added_minor: Price of what is added; negative where less is bought.
    """
    return Blend(unrecognised_minor + added_minor, units_left + added_units)


def caught_up(new_price_minor: int, done: Decimal, whole: Decimal, recognised_minor: int) -> int:
    """Return what a change earns at once, or takes back (negative).

    The progress is never rounded: round(new price x done / whole) - recognised.
    Source: IFRS 15.21(b), 88-90.
    """
    return prorate(new_price_minor, done, whole) - recognised_minor
