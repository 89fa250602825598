"""How a credit note takes amounts off the lines of an invoice.

What lines claimed and what earlier notes took enters; what is left, and how the note settles,
leaves. A note first reduces what the invoice still owes; only the rest, which was paid, goes back
to the customer: as a refund, to their balance, or out of band.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import Money, prorate
from billing_project.kernel.quantity import plain, round_unrounded
from invoicing.tax import Taxed, tax_credited


class CreditRefused(ValueError):
    """A note asks for more than a line has left, or for nothing; the message says what is left."""


class SettlementRefused(CreditRefused):
    """The paid part cannot go back as wanted; the message says what can."""


@dataclass(frozen=True)
class LineLeft:
    """One line's claim and what notes took off it so far, in minor units, net; and the tax."""

    position: int
    amount_minor: int
    credited_minor: int
    tax_minor: int = 0
    tax_credited_minor: int = 0

    @property
    def left_minor(self) -> int:
        """What a note may still take off."""
        return self.amount_minor - self.credited_minor

    def tax_of(self, amount_minor: int) -> int:
        """Return the tax that goes with a further note over so much."""
        line = Taxed(self.amount_minor, self.tax_minor)
        return tax_credited(line, self.credited_minor, self.tax_credited_minor, amount_minor)


@dataclass(frozen=True)
class Settlement:
    """How the paid part of a note goes back, in minor units.

    Attributes:
        refund_minor: Is owed until a refund returns it to where it came from.
        balance_minor: Pays the next invoices.
        out_of_band_minor: Was given back already, outside of this system.
    """

    refund_minor: int = 0
    balance_minor: int = 0
    out_of_band_minor: int = 0

    @property
    def total_minor(self) -> int:
        """What goes back in all ways together."""
        return self.refund_minor + self.balance_minor + self.out_of_band_minor


@dataclass(frozen=True)
class Paid:
    """What came in for an invoice, and what earlier notes gave back of it as money.

    Attributes:
        money_minor: Payments; what the customer's balance paid is none of them.
        returned_minor: What earlier notes refund or gave back out of band.
    """

    money_minor: int
    returned_minor: int

    @property
    def left_minor(self) -> int:
        """What may still go back as money."""
        return self.money_minor - self.returned_minor


@dataclass(frozen=True)
class Split:
    """How a note settles: off the open claim, and back to the customer."""

    open_minor: int
    back: Settlement
    tax_minor: int = 0  # Of the total.

    @property
    def total_minor(self) -> int:
        """The note's total."""
        return self.open_minor + self.back.total_minor


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


def part_of(
    amount_minor: int,
    quantity: Decimal,
    *,
    of: Decimal | None = None,
    percent: Decimal | None = None,
) -> int:
    """Return what a quantity or a percentage of a line is worth, settled once.

    Args:
        amount_minor: The line, net of tax.
        quantity: Of the line, > 0.
        of: So many of them; or
        percent: so many per cent; just one of both.

    Raises:
        CreditRefused: more than the line has, or not more than nothing.
    """
    share = (of / quantity) if of is not None else (percent or Decimal(0)) / 100
    if not 0 < share <= 1:
        raise CreditRefused(f"a line has {plain(quantity)} and 100 %, and a note takes some of it")
    if of is not None:
        return prorate(amount_minor, of, quantity)
    return prorate(amount_minor, percent or Decimal(0), Decimal(100))


def credit(
    lines: Iterable[LineLeft],
    asked: Sequence[tuple[int, int]],
    open_amount: Money,
    paid: Paid,
    wanted: Settlement | None = None,
) -> Split:
    """Take the asked amounts off their lines and split the sum: what is open first.

    Args:
        lines: Every line of the invoice.
        asked: (position, minor units > 0, net of tax), each position once.
        open_amount: What the invoice still owes, >= 0.
        wanted: How the paid part goes back; all to the balance where nothing is said.

    Returns:
        open + back == sum of what was asked and of its tax in proportion, exactly.

    Raises:
        CreditRefused: nothing asked, a position unknown or twice, or more than is left on a line.
        SettlementRefused: see `settled`.

    Source: Stripe, credit notes: pre-payment and post-payment amounts.
    """
    left = {line.position: line for line in lines}
    total = tax_minor = 0
    if not asked:
        raise CreditRefused("a credit note takes something off at least one line")
    for position, amount_minor in asked:
        if position not in left:
            raise CreditRefused(f"line {position} is not on the invoice, or was named twice")
        line = left.pop(position)  # A second mention is refused.
        if not 0 < amount_minor <= line.left_minor:
            currency, has = open_amount.currency, line.left_minor
            has_left, off = Money(has, currency), Money(amount_minor, currency)
            raise CreditRefused(f"line {position} has {has_left} left to credit, not {off}")
        tax_minor += line.tax_of(amount_minor)
        total += amount_minor
    total += tax_minor
    off_open = min(total, open_amount.amount_minor)
    back = Money(total - off_open, open_amount.currency)
    return Split(off_open, settled(back, paid, wanted), tax_minor)


def up_to(
    lines: Iterable[LineLeft], asked: Iterable[tuple[int, int]], most_minor: int
) -> list[tuple[int, int]]:
    """Shorten what is asked so that with its tax it is at most so much; the first goes first.

    Args:
        asked: As for `credit`.

    Returns:
        What is left of each, without what comes to nothing.
    """
    known, kept = {line.position: line for line in lines}, []
    for position, amount_minor in asked:
        line = known[position]
        fits = most_minor * line.amount_minor // (line.amount_minor + line.tax_minor)
        part = min(amount_minor, fits + 1)
        while part > 0 and part + line.tax_of(part) > most_minor:
            part -= 1
        if part > 0:
            kept.append((position, part))
            most_minor -= part + line.tax_of(part)
    return kept


def settled(back: Money, paid: Paid, wanted: Settlement | None) -> Settlement:
    """Divide what goes back as wanted; it has to be all of it, exactly.

    Money goes back only as far as money came in: what the customer's balance paid returns there.
    Without a wish all of it goes to the balance.

    Raises:
        SettlementRefused: a negative part, parts that do not sum to what goes back, or more money
            than came in.
    """
    if wanted is None:
        return Settlement(balance_minor=back.amount_minor)
    parts = (wanted.refund_minor, wanted.balance_minor, wanted.out_of_band_minor)
    if min(parts) < 0:
        raise SettlementRefused("no part of a settlement is less than nothing")
    if wanted.total_minor != back.amount_minor:
        given = Money(wanted.total_minor, back.currency)
        raise SettlementRefused(f"{back} was paid and goes back, but the settlement says {given}")
    as_money = wanted.refund_minor + wanted.out_of_band_minor
    if as_money > paid.left_minor:
        left, asked = (Money(minor, back.currency) for minor in (paid.left_minor, as_money))
        raise SettlementRefused(f"{left} of the payments is left to return as money, not {asked}")
    return wanted


def pays(balance_minor: int, open_minor: int) -> int:
    """Return what a customer's balance pays of a claim: all that it can (rule 15)."""
    return max(0, min(balance_minor, open_minor))
