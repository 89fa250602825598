"""Exact quantities: what a sender may write, and how the house writes it back."""

import re
from decimal import Decimal

DECIMALS = 12
LIMIT = Decimal(10) ** 24  # numeric(38,12) holds 26 digits before the point; sums keep two in hand.
_PLAIN = re.compile(r"-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,39})?", re.ASCII)
# As a person types it: a sign, zeros in front, nothing before or after the point.
_TYPED = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,39})?|\.[0-9]{1,39})", re.ASCII)
_STEP = Decimal(1).scaleb(-DECIMALS)


class NotAQuantity(ValueError):
    """The value is no decimal number within the bounds; the message says why."""


def parse_quantity(value: object) -> Decimal:
    """Read a quantity that a sender wrote as a string or as a JSON number.

    Args:
        value: "1200", "0.5", 1200 or Decimal; ASCII digits, no exponent in strings.

    Returns:
        0 <= quantity < 10**24 with at most 12 decimals, exactly as sent.

    Raises:
        NotAQuantity: not a number, negative, too large or too fine.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise NotAQuantity("is not a number")
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        raise NotAQuantity("is not a plain decimal number")
    number = Decimal(value)
    if not number.is_finite():
        raise NotAQuantity("is not a finite number")
    if number < 0:
        raise NotAQuantity("is negative; corrections are adjustments")
    if number >= LIMIT:
        raise NotAQuantity("is 10^24 or more")
    if number and number.normalize().as_tuple().exponent < -DECIMALS:  # type: ignore[operator]
        raise NotAQuantity(f"has more than {DECIMALS} decimals")
    return abs(number)


def typed_number(text: str) -> Decimal:
    """Read a number that a person typed; blanks around it are no part of it.

    Python reads more than anybody writes: 1_000, digits of every script, 1e3, NaN and Infinity.

    Raises:
        NotAQuantity: ASCII digits, a point and a sign are not all that it consists of.
    """
    typed = text.strip()
    if not _TYPED.fullmatch(typed):
        raise NotAQuantity("is not a plain decimal number")
    return Decimal(typed)


def round_unrounded(value: Decimal) -> Decimal:
    """Bring a charge to the 12 decimals that numeric(38,12) stores."""
    return value.quantize(_STEP)


def plain(value: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros ("1200", "0.5")."""
    text = f"{value.normalize():f}"
    return "0" if text in {"-0", "0"} else text


def how_many(count: int, noun: str) -> str:
    """Write a count with its noun, in the plural unless it is one ("1 line", "2,000 lines")."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
