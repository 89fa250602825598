"""What is left of a rate in money: credits a unit, the value of a credit, and the supplier's price.

Exact decimals in, exact decimals out; nothing is rounded here. Knows no customers and no models.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

THIN_PERCENT = Decimal(20)  # A margin below this is marked.
_PER_MILLION, _PER_THOUSAND = Decimal(1_000_000), Decimal(1_000)
_SCALES = {"token": _PER_MILLION, "character": _PER_MILLION, "request": _PER_THOUSAND}


class Mark(StrEnum):
    """What a margin should make somebody do."""

    GOOD = "good"
    THIN = "thin"
    NEGATIVE = "negative"


@dataclass(frozen=True)
class Margin:
    """Money of some quantity, in major units of one currency, unrounded."""

    revenue: Decimal
    cost: Decimal

    @property
    def amount(self) -> Decimal:
        """What is left."""
        return self.revenue - self.cost

    @property
    def percent(self) -> Decimal | None:
        """What is left, of 100 of revenue; None where there is no revenue."""
        return self.amount / self.revenue * 100 if self.revenue else None

    @property
    def mark(self) -> Mark:
        """Tell whether it is negative, or below 20 %; free of cost and charge is good."""
        if self.amount < 0:
            return Mark.NEGATIVE
        percent = self.percent
        return Mark.THIN if percent is not None and percent < THIN_PERCENT else Mark.GOOD

    def __add__(self, other: "Margin") -> "Margin":
        return Margin(self.revenue + other.revenue, self.cost + other.cost)


def margin_of(
    quantity: Decimal, credits_a_unit: Decimal, credit_value: Decimal, supplier_price: Decimal
) -> Margin:
    """Price a quantity to the customer and to us.

    Args:
        quantity: In the meter's unit; the table's scale, or what was used.
        credits_a_unit: Credits of one unit.
        credit_value: Major units of one credit.
        supplier_price: Major units of one unit, in the same currency.
    """
    return Margin(quantity * credits_a_unit * credit_value, quantity * supplier_price)


def average_basis(grants: Iterable[tuple[Decimal, Decimal]]) -> Decimal | None:
    """Return what one paid credit cost on average.

    Args:
        grants: (price in major units, credits) of each paid grant.

    Returns:
        Major units a credit: all prices by all credits; None without a grant.
    """
    paid = list(grants)
    amount = sum((bought for _, bought in paid), Decimal(0))
    return sum((price for price, _ in paid), Decimal(0)) / amount if amount else None


def scale_of(unit: str) -> Decimal:
    """Return for how many units of a meter people quote a price: 1,000,000 tokens, 1 seat."""
    return _SCALES.get(unit, Decimal(1))
