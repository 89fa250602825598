"""How a quantity is brought to its declared decimals; the same rule in SQL is `meter_round`."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

MAX_DECIMALS = 12  # As many as a quantity has at most.


class RoundingMode(StrEnum):
    """What happens to digits beyond the last decimal; quantities are never negative."""

    HALF_EVEN = "half_even"
    HALF_UP = "half_up"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Rounding:
    """A mode, and decimals from 0 to 12."""

    mode: RoundingMode = RoundingMode.HALF_EVEN
    decimals: int = MAX_DECIMALS

    @property
    def keeps_all(self) -> bool:
        """Tell whether a value of at most 12 decimals stays as it is."""
        return self.decimals == MAX_DECIMALS

    def apply(self, amount: Decimal, divisor: int = 1) -> Decimal:
        """Divide and round once, in whole numbers: no digit is lost on the way.

        Args:
            amount: >= 0, with any number of decimals.
        """
        numerator, denominator = amount.as_integer_ratio()
        parts = denominator * divisor
        whole, rest = divmod(numerator * 10**self.decimals, parts)
        steps = whole + self._steps_up(whole, rest, parts)
        return Decimal((0, tuple(int(digit) for digit in str(steps)), -self.decimals))

    def _steps_up(self, whole: int, rest: int, parts: int) -> bool:
        if self.mode == RoundingMode.DOWN:
            return False
        if self.mode == RoundingMode.UP:
            return rest > 0
        is_tie_up = self.mode == RoundingMode.HALF_UP or whole % 2 == 1
        return 2 * rest > parts or (2 * rest == parts and is_tie_up)


EXACT = Rounding()
