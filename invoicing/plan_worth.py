"""What a period comes to under a plan's terms: usage in, fee and overage out. No tables.

It simulates: what other grants paid stays as it was, the included credits pay next.
"""

from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import Money, settle

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Worth:
    """The terms of a plan that decide what a period comes to.

    Attributes:
        overage_price: Major units for one credit beyond.
    """

    currency: str
    fee_minor: int
    included_credits: Decimal
    overage_price: Decimal


@dataclass(frozen=True)
class Usage:
    """What a period used, in credits: its whole charge, and what grants beside the plan paid."""

    charge: Decimal
    paid_otherwise: Decimal


def period_worth(worth: Worth, usage: Usage) -> Money:
    """Return the fee and the overage of a period, ex tax, settled as on the invoice."""
    needed = max(usage.charge - usage.paid_otherwise, _ZERO)
    overage = max(needed - worth.included_credits, _ZERO)
    claimed = settle(overage * worth.overage_price, worth.currency)
    return Money(worth.fee_minor + claimed, worth.currency)
