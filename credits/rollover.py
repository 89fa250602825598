"""What becomes of credits that are left when a grant ends: rolled over, or expired. No tables."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from billing_project.kernel.quantity import DECIMALS

_ZERO = Decimal(0)
_STEP = Decimal(1).scaleb(-DECIMALS)


@dataclass(frozen=True)
class Ending:
    """Where what was left goes; the two sum to it exactly."""

    rolled: Decimal
    expired: Decimal


def end_of(left: Decimal, rollover: str, value: Decimal | None) -> Ending:
    """Split what is left of a grant at its end.

    Args:
        left: Credits, >= 0, at most 12 decimals.
        rollover: "none", "fraction" or "cap".
        value: The fraction, in (0, 1], or the cap in credits, > 0; None for "none".

    Returns:
        A fraction of a credit that 12 decimals cannot hold expires.
    """
    if rollover == "none" or value is None:
        rolled = _ZERO
    elif rollover == "fraction":
        rolled = (left * value).quantize(_STEP, rounding=ROUND_DOWN)
    else:
        rolled = min(left, value)
    return Ending(rolled, left - rolled)
