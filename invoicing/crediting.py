"""How a credit note takes amounts off the lines of an invoice.

What lines claimed and what earlier notes took enters; what is left, and how the note settles,
leaves. A note first reduces what the invoice still owes; only the rest, which was paid, is owed
back to the customer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import Money
from billing_project.kernel.quantity import round_unrounded


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


@dataclass(frozen=True)
class Off:
    """What one note took off a pack that was not granted yet."""

    amount_minor: int
    keeps_credits: bool  # A favour on the price: all credits stay.


@dataclass(frozen=True)
class PackLeft:
    """What is left of a pack: so many credits at such a price."""

    credits: Decimal
    price_minor: int


def pack_left(sold: PackLeft, notes: Iterable[Off]) -> list[PackLeft]:
    """Follow a pack through the notes on it, in their order.

    A favour lowers the price of the same credits; every other note gives up credits in proportion,
    so that each of the rest costs what it did.

    Returns:
        The pack as sold, and after each note. Credits are rounded to 12 decimals for each answer,
        and not on the way.
    """
    exact, price_minor, steps = sold.credits, sold.price_minor, [sold]
    for note in notes:
        left = price_minor - note.amount_minor
        if not note.keeps_credits:
            exact = exact * left / price_minor
        price_minor = left
        steps.append(PackLeft(round_unrounded(exact), price_minor))
    return steps


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
