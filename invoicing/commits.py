"""What is missing from a minimum commit. Amounts come in, minor units leave; no storage.

A term of several periods is trued up once, at its end. Whatever is claimed late, a term ends on

    charge = max(commit, what counts toward it).
"""

from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import Money
from invoicing.lines import Kind, Line


@dataclass(frozen=True)
class Commit:
    """A term's minimum, what counts toward it, and what earlier lines claimed of its shortfall."""

    name: str
    minimum: Money
    counted_minor: int
    claimed_minor: int = 0

    @property
    def shortfall_minor(self) -> int:
        """What is missing in all, >= 0: max(commit, counted) - counted."""
        return max(0, self.minimum.amount_minor - self.counted_minor)

    @property
    def left_minor(self) -> int:
        """What is still to claim; negative where usage that came later made up for it."""
        return self.shortfall_minor - self.claimed_minor

    def line(self) -> Line | None:
        """Return the line that claims what is left, or None if nothing is."""
        if self.left_minor <= 0:
            return None
        left = Money(self.left_minor, self.minimum.currency)
        counted = Money(self.counted_minor, self.minimum.currency)
        words = f"{self.name}: {self.minimum} less {counted} counted"
        if self.claimed_minor:
            words += f" and {Money(self.claimed_minor, left.currency)} claimed before"
        price, minor = left.decimal, left.amount_minor
        return Line(Kind.COMMIT_SHORTFALL, words, Decimal(1), "", price, minor, "commit")


def is_last_of_term(index: int, periods: int) -> bool:
    """Tell whether a term ends with the period of an index, counted from 0."""
    return (index + 1) % periods == 0
