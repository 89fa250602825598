"""Money at rest is integer minor units and a currency; unrounded charges are Decimal.

Amounts are rounded by `half_up` and nowhere else, mostly through `settle` and `prorate`; they are
split by `allocate`, so that parts sum to the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache

from babel.numbers import list_currencies

# ISO 4217 minor units that are not 2.
_NO_DECIMALS = (
    *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"),
    *("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"),
)
_THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_EXPONENTS = {**dict.fromkeys(_NO_DECIMALS, 0), **dict.fromkeys(_THREE_DECIMALS, 3)}


@cache
def is_currency(code: str) -> bool:
    """Tell whether `code` is an ISO 4217 currency that Babel's locale data knows."""
    return code in list_currencies()


def exponent(currency: str) -> int:
    """Return the number of decimals of a currency (JPY 0, USD 2, KWD 3)."""
    return _EXPONENTS.get(currency, 2)


@dataclass(frozen=True, order=False)
class Money:
    """An exact amount: integer minor units of one currency."""

    amount_minor: int
    currency: str

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount_minor + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount_minor - self._same(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount_minor, self.currency)

    def _same(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} are never summed")
        return other.amount_minor

    @property
    def decimal(self) -> Decimal:
        """The amount in major units with all of the currency's decimals."""
        return Decimal(self.amount_minor).scaleb(-exponent(self.currency))

    def __str__(self) -> str:
        return f"{self.decimal:f} {self.currency}"


def settle(unrounded: Decimal, currency: str) -> int:
    """Round an unrounded amount in major units to minor units, half away from zero.

    Args:
        unrounded: Major units ("0.0125" dollars), any sign.
        currency: ISO 4217 code.

    Returns:
        Minor units. Negative totals round by their absolute value.
    """
    return half_up(unrounded.scaleb(exponent(currency)))


def half_up(exact: Decimal) -> int:
    """Round exact minor units, half away from zero: the one rounding that amounts have."""
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def prorate(price_minor: int, done: Decimal, whole: Decimal) -> int:
    """Return the settled share of a price after `done` of `whole`, from the start.

    Callers post the difference to what they posted before, so that rounding never accumulates:
    at done == whole the sum of all postings is exactly the price.

    Args:
        price_minor: Whole price in minor units, any sign.
        done: Progress in any unit, 0 <= done <= whole.
        whole: Total in the same unit; 0 counts as finished.

    Returns:
        Minor units earned so far. Source: IFRS 15.39-45; accounting.md 5.1.
    """
    if not whole:
        return price_minor
    return half_up(price_minor * done / whole)


def allocate(total: int, weights: Sequence[Decimal | int]) -> list[int]:
    """Split minor units by weights; parts always sum to the whole (largest remainder).

    Args:
        total: Minor units, any sign; negative totals split by their absolute value.
        weights: >= 0, not all zero. Ties go to the earlier part.
    """
    whole = sum(Decimal(weight) for weight in weights)
    if whole <= 0 or any(weight < 0 for weight in weights):
        raise ValueError("weights are >= 0 and not all zero")
    exact = [abs(total) * Decimal(weight) / whole for weight in weights]
    parts = [int(share) for share in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in by_remainder[: abs(total) - sum(parts)]:
        parts[i] += 1
    return parts if total >= 0 else [-part for part in parts]
