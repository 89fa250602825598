"""What tax a line carries: by market, by the customer's tax id, on the price or in it.

Amounts in minor units and a rate enter; net and tax leave. Tax is rounded once for each line, and
for notes by cumulative difference, so that a line credited in full takes all of its tax with it.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.money import prorate
from invoicing.lines import Kind

NO_RATE = Decimal(0)
# What has a list price. Usage, outcomes and what lacks to a commit are priced without tax.
_LISTED = {
    Kind.RECURRING.value, Kind.SEAT.value, Kind.ONE_OFF.value, Kind.CREDIT_PACK.value,
    Kind.COMMITMENT.value,
}  # fmt: skip


class Treatment(StrEnum):
    """Why a sale is taxed as it is."""

    OUTSIDE = "outside"  # No registration is required in the market.
    STANDARD = "standard"
    REVERSE_CHARGE = "reverse_charge"


@dataclass(frozen=True)
class Terms:
    """What is charged in a market where we are registered."""

    name: str
    rate: Decimal
    is_inclusive: bool
    has_reverse_charge: bool


@dataclass(frozen=True)
class Tax:
    """What an invoice is charged."""

    treatment: Treatment
    name: str = ""
    rate: Decimal = NO_RATE
    is_inclusive: bool = False


@dataclass(frozen=True)
class Taxed:
    """A line's price, divided: net + tax."""

    net_minor: int
    tax_minor: int


NO_TAX = Tax(Treatment.OUTSIDE)  # Where no registration is required.


def tax_for(terms: Terms, seller: str, buyer: str, has_tax_id: bool) -> Tax:
    """Decide how a sale is taxed.

    Args:
        terms: The market's, where we are registered.
        seller, buyer: Countries.
        has_tax_id: Whether the buyer gave a tax id of its own country in good form.

    Returns:
        The rate is zero unless the treatment is standard. Under reverse charge a price with tax in
        it is the net price: the buyer owes the tax besides.
        Source: Directive 2006/112/EC, articles 44 and 196.
    """
    if terms.has_reverse_charge and has_tax_id and buyer != seller:
        return Tax(Treatment.REVERSE_CHARGE, terms.name)
    return Tax(Treatment.STANDARD, terms.name, terms.rate, terms.is_inclusive)


def taxed(price_minor: int, rate: Decimal, *, is_inclusive: bool) -> Taxed:
    """Divide a price into net and tax.

    Inclusive: tax = gross x r / (1 + r), the rest is net, so that both sum to the price.
    Exclusive: the price is net, and the tax comes on top.

    Args:
        price_minor: >= 0, any currency: 0 and 3 decimals are minor units too.
        rate: 0 <= rate < 1.

    Source: accounting.md 5.14. Not 31.00 x 10 % = 3.10 but 31.00 x 0.1 / 1.1 = 2.82.
    """
    if is_inclusive:
        tax = prorate(price_minor, rate, 1 + rate)
        return Taxed(price_minor - tax, tax)
    return Taxed(price_minor, prorate(price_minor, rate, Decimal(1)))


def is_in_price(kind: str, tax: Tax) -> bool:
    """Tell whether a line's price has the tax in it; usage is priced by the credit, without."""
    return tax.is_inclusive and kind in _LISTED


def taxed_as(kind: str, price_minor: int, tax: Tax) -> Taxed:
    """Divide the price of a line of a kind."""
    return taxed(price_minor, tax.rate, is_inclusive=is_in_price(kind, tax))


def net_before(kind: str, price_minor: int, discount_minor: int, tax: Tax) -> int:
    """Return what a line is worth before discounts, and without tax.

    Args:
        price_minor: After discounts, with the tax where it is in the price.
        discount_minor: What came off it, of the same price.
    """
    return sum(taxed_as(kind, minor, tax).net_minor for minor in (price_minor, discount_minor))


def tax_credited(
    line: Taxed, credited_minor: int, tax_credited_minor: int, amount_minor: int
) -> int:
    """Return the tax that goes with a further credit of a line's net amount.

    Args:
        credited_minor, tax_credited_minor: What notes took before, net and tax.
        amount_minor: Net, > 0, at most what is left.

    Returns:
        The difference of cumulative shares, >= 0: credits that sum to the line take exactly its
        tax. It is nothing while notes that stand took more than their share, because those between
        them that rounding had favoured less were voided.
    """
    done = credited_minor + amount_minor
    share = prorate(line.tax_minor, Decimal(done), Decimal(line.net_minor))
    return max(0, share - tax_credited_minor)
