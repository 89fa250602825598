"""Figures before and after what a form would do, as its preview shows them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.backoffice.display import number_text
from billing_project.kernel.backoffice.policies import signed_text
from credits.models import PricingUnit
from credits.selectors.balances import balance_now
from metering.models import Customer


@dataclass(frozen=True)
class Shift:
    """One figure before and after."""

    label: str
    before: str
    after: str
    difference: str
    unit: str


def shift(label: str, before: Decimal, after: Decimal, unit: PricingUnit) -> Shift:
    """Write a figure of credits before and after."""
    return Shift(
        label, number_text(before), number_text(after), signed_text(after - before), unit.code
    )


def available(customer: Customer, at: datetime, unit: PricingUnit) -> Decimal:
    """Return what a customer can use of a kind of credits."""
    held = balance_now(customer, at)
    return next((one.available for one in held if one.pricing_unit == unit.code), Decimal(0))
