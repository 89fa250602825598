"""How a credit note takes amounts off the lines of an invoice.

What lines claimed and what earlier notes took enters; what is left, and how the note settles,
leaves. A note first reduces what the invoice still owes; only the rest, which was paid, is owed
back to the customer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from billing_project.kernel.money import Money


class CreditRefused(ValueError):
    """A note asks for more than a line has left, or for nothing; the message says what is left."""


@dataclass(frozen=True)
class LineLeft:
    """One line's claim and what notes took off it so far, in minor units."""

    position: int
    amount_minor: int
    credited_minor: int

    @property
    def left_minor(self) -> int:
        """What a note may still take off."""
        return self.amount_minor - self.credited_minor


@dataclass(frozen=True)
class Split:
    """How a note settles: off the open claim, and back to the customer."""

    open_minor: int
    balance_minor: int

    @property
    def total_minor(self) -> int:
        """The note's total."""
        return self.open_minor + self.balance_minor


def credit(
    lines: Iterable[LineLeft], asked: Sequence[tuple[int, int]], open_amount: Money
) -> Split:
    """Take the asked amounts off their lines and split the sum: what is open first.

    Args:
        lines: Every line of the invoice.
        asked: (position, minor units > 0), each position once.
        open_amount: What the invoice still owes, >= 0.

    Returns:
        open + balance == sum of what was asked, exactly.

    Raises:
        CreditRefused: nothing asked, a position unknown or twice, or more than is left on a line.
    """
    left = {line.position: line.left_minor for line in lines}
    if not asked:
        raise CreditRefused("a credit note takes something off at least one line")
    for position, amount_minor in asked:
        if position not in left:
            raise CreditRefused(f"line {position} is not on the invoice, or was named twice")
        if not 0 < amount_minor <= left[position]:
            has, wanted = (Money(m, open_amount.currency) for m in (left[position], amount_minor))
            raise CreditRefused(f"line {position} has {has} left to credit, not {wanted}")
        del left[position]  # A second mention is refused.
    total = sum(amount_minor for _, amount_minor in asked)
    off_open = min(total, open_amount.amount_minor)
    return Split(off_open, total - off_open)
