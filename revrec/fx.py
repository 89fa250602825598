"""Amounts in another currency than the books are kept in.

Contract liabilities are not money: they keep the rate of the day on which they came to be, and
revenue follows them. What is money (cash, receivables, refunds owed, tax) is valued anew at each
close. Source: IAS 21.21-28, IFRIC 22.8-9 (830-10-45-18); accounting.md 1.8, rules 16, 28, 29.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from billing_project.kernel.errors import NotFound
from billing_project.kernel.money import exponent, prorate, settle
from revrec.posting import About, Account, Lines, PostingLine, balanced


@dataclass(frozen=True)
class Rate:
    """What one unit of a currency is worth in the books' own currency."""

    currency: str
    functional: str
    value: Decimal

    def of(self, amount_minor: int) -> int:
        """Return an amount in the books' currency, settled."""
        major = Decimal(amount_minor).scaleb(-exponent(self.currency))
        return settle(major * self.value, self.functional)


@dataclass(frozen=True)
class Carried:
    """An amount of another currency, and what it stands at in the books."""

    amount_minor: int
    book_minor: int

    def part(self, amount_minor: int) -> int:
        """Return what a part of it stands at: at its historical rate, all of it exactly."""
        return prorate(self.book_minor, Decimal(amount_minor), Decimal(self.amount_minor))

    def left(self, amount_minor: int) -> "Carried":
        """Return the rest after a part is gone."""
        rest = self.amount_minor - amount_minor
        return Carried(rest, self.book_minor - self.part(amount_minor))


def required(rate: Rate | None, currency: str, functional: str, on: date | None = None) -> Rate:
    """Return a rate; one's own currency is worth itself.

    Raises:
        NotFound: there is none, and the currencies differ (`rate_missing`).
    """
    if rate is not None:
        return rate
    if currency == functional:
        return Rate(currency, functional, Decimal(1))
    day = f" on {on}" if on else ""
    raise NotFound(
        f"there is no rate of exchange of {currency} to {functional}{day}: finance approves one"
        " first",
        code="rate_missing",
    )


def revaluation(carried: Carried, rate: Rate) -> int:
    """Return by how much money gains in the books at a close; negative is a loss (IAS 21.23(a))."""
    return rate.of(carried.amount_minor) - carried.book_minor


def revalued(account: Account, change_minor: int, about: About) -> Lines:
    """Rule 29: an asset that gains, or a liability that falls, is a gain. Debit-positive change."""
    return balanced(
        [
            PostingLine(account, change_minor, about),
            PostingLine(Account.FX_RESULT, -change_minor, about),
        ]
    )


def worth_alone(lines: Iterable[PostingLine], currency: str) -> Lines:
    """Return lines that move only what amounts of a currency are worth, and none of its amounts.

    Args:
        lines: In the books' own currency; they sum to zero.
    """
    return tuple(
        replace(
            line, amount_minor=0, functional_minor=line.amount_minor,
            about=replace(line.about, currency=currency),
        )
        for line in lines
    )  # fmt: skip
