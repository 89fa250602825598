"""Decide whether a balance is filled by itself, with how much, and for which price.

Pure: what a customer agreed to and how they stand go in; a purchase comes out, or why there is
none.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.money import settle


class WhyNot(StrEnum):
    """Why nothing is bought now."""

    ENOUGH = "enough"  # Nothing fell, or not so far.
    COOLS_DOWN = "cools_down"
    MONTHLY_LIMIT = "monthly_limit"
    TOO_LARGE = "too_large"  # Enough is there but for work that no purchase would let begin.


@dataclass(frozen=True)
class Agreed:
    """What a customer agreed to.

    Attributes:
        threshold: Credits; below it, or where work was refused for want of credits, is bought.
        amount, target: Credits that are bought each time, or up to which; one of the two.
        unit_price: Of one credit, in the customer's currency, ex tax, unrounded.
        monthly_limit_minor: Most that purchases of one month may claim, ex tax.
    """

    threshold: Decimal
    amount: Decimal | None
    target: Decimal | None
    unit_price: Decimal
    currency: str
    monthly_limit_minor: int
    cool_down: timedelta


@dataclass(frozen=True)
class Standing:
    """How a customer stands: credits they may use, and what was bought by itself before.

    Attributes:
        refused: The least credits that work was refused for want of, since the last purchase.
        month_minor: What purchases of this month claimed, but for those that failed.
    """

    available: Decimal
    refused: Decimal | None
    last_at: datetime | None
    month_minor: int


@dataclass(frozen=True)
class Buy:
    """So many credits for so much, ex tax."""

    credits: Decimal
    price_minor: int


def decide(agreed: Agreed, standing: Standing, at: datetime) -> Buy | WhyNot:
    """Return what is bought now, or why nothing is.

    Worked example: below 100 credits up to 1,000 at 0.01 each; 40 are left: 960 for 9.60. With 500
    left, work for 900 is refused: 500 are bought; work for 1,100 is not let begin by any purchase.
    """
    is_low = standing.available < agreed.threshold
    if not is_low and standing.refused is None:
        return WhyNot.ENOUGH
    credits_ = agreed.amount
    if credits_ is None:
        assert agreed.target is not None, "one of the two"
        credits_ = agreed.target - standing.available
    most = standing.available + max(credits_, Decimal(0))
    if not is_low and standing.refused is not None and standing.refused > most:
        return WhyNot.TOO_LARGE
    if credits_ <= 0:
        return WhyNot.ENOUGH
    if standing.last_at is not None and at < standing.last_at + agreed.cool_down:
        return WhyNot.COOLS_DOWN
    price_minor = max(1, settle(credits_ * agreed.unit_price, agreed.currency))
    if standing.month_minor + price_minor > agreed.monthly_limit_minor:
        return WhyNot.MONTHLY_LIMIT
    return Buy(credits_, price_minor)
