"""Tax on a price, beside it or inside it; and what is left to pay once all is taken off.

The parts always sum: what tax inside a price leaves is the net amount. Revenue is never tax, in no
period (IFRS 15.47). Source: accounting.md 2 and 5.14.
"""

from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import prorate

_ONE = Decimal(1)


@dataclass(frozen=True)
class Taxed:
    """A price and its tax, in minor units."""

    net_minor: int
    tax_minor: int

    @property
    def gross_minor(self) -> int:
        """What the customer pays."""
        return self.net_minor + self.tax_minor


def tax_beside(net_minor: int, rate: Decimal) -> Taxed:
    """Return a price with its tax added: rate 0.10 makes 31.00 to 34.10."""
    return Taxed(net_minor, prorate(net_minor, rate, _ONE))


def tax_inside(gross_minor: int, rate: Decimal) -> Taxed:
    """Return the parts of a price that includes its tax: tax = gross x rate / (1 + rate)."""
    tax = prorate(gross_minor, rate, _ONE + rate)
    return Taxed(gross_minor - tax, tax)


def left_to_pay(net_minor: int, coupon_minor: int, rate: Decimal, prepaid_minor: int) -> int:
    """Return an invoice's claim: a coupon lowers what is taxed, prepaid credits pay what is due.

    Args:
        prepaid_minor: Credits whose sale was not taxed; taxed ones cover usage before tax.
    """
    return tax_beside(net_minor - coupon_minor, rate).gross_minor - prepaid_minor
