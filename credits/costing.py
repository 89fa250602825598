"""The cost basis of credits: a grant's price spread evenly over its amount. Knows no customers."""

from decimal import Decimal

from billing_project.kernel.money import exponent
from billing_project.kernel.quantity import round_unrounded


def cost_of(
    part: Decimal,
    amount: Decimal,
    price_minor: int,
    currency: str,
) -> Decimal:
    """Return what some credits of a grant cost its buyer.

    Args:
        part: Credits of the grant, any sign; the cost has the same.
        amount: Credits in the whole grant, > 0.
        price_minor: Price of the whole grant ex tax, in minor units.

    Returns:
        Major units of the currency, unrounded money with 12 decimals.
    """
    price = Decimal(price_minor).scaleb(-exponent(currency))
    return round_unrounded(price * part / amount)
