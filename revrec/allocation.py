"""Divide a transaction price over promises by their stand-alone selling prices.

A price and what each promise would cost alone come in; minor units leave that sum to the price.
Shares are never rounded before they are multiplied. Source: IFRS 15.73-80, B39-B43 (606-10-32-31,
55-41 to 55-45); accounting.md 1.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import allocate

_ONE = Decimal(1)


@dataclass(frozen=True)
class Part:
    """One promise as it would be sold alone.

    Attributes:
        ssp: Stand-alone selling price in any one unit of money, >= 0.
        likelihood: Share of it that customers are expected to take up, 0 to 1 (B42).
    """

    ssp: Decimal
    likelihood: Decimal = _ONE


def allocate_price(price_minor: int, parts: Sequence[Part]) -> list[int]:
    """Divide a price in proportion to the parts' selling prices, as far as they will be used.

    Returns:
        One amount a part, in order; they sum to the price. Source: IFRS 15.76, B42.
    """
    return allocate(price_minor, [part.ssp * part.likelihood for part in parts])


def bonus_shares(
    price_minor: int, paid_credits: Decimal, bonus_credits: Decimal
) -> tuple[int, int]:
    """Divide a pack's price over paid and bonus credits of equal terms: each credit costs the same.

    Returns:
        (price of the paid credits, price of the bonus credits). Source: accounting.md 1.3.
    """
    paid, bonus = allocate(price_minor, [paid_credits, bonus_credits])
    return paid, bonus


def discount_option_ssp(purchase: Decimal, incremental: Decimal, likelihood: Decimal) -> Decimal:
    """Return what a right to a discount would cost alone.

    Args:
        purchase: Average price of what is bought with it.
        incremental: Share that it saves beyond what anybody is offered, 0 to 1.
        likelihood: That it is used, 0 to 1. Source: IFRS 15.B42, Example 49.
    """
    return purchase * incremental * likelihood


def look_through(expected_price_minor: int, expected_costs: Sequence[Decimal]) -> list[int]:
    """Divide all that renewals are expected to bring by what serving each of them costs.

    The practical alternative to pricing each option to renew. Source: IFRS 15.B43, Example 51.
    """
    return allocate(expected_price_minor, expected_costs)
