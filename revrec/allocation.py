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
