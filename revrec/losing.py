"""The posting rules of claims that are given up, and of what comes after all; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from revrec.posting import About, Account, Lines, PostingLine, balanced, pair


@dataclass(frozen=True)
class LostPart:
    """What is given up of one promise: delivered and unpaid, and not delivered.

    `promise` is where the undelivered part stood; None where everything was delivered.
    """

    promise: Account | None
    impaired_minor: int
    promise_minor: int
    about: About


def written_off(parts: Iterable[LostPart], amount_minor: int, about: About) -> Lines:
    """Rule 20: what was delivered and is not paid is an expense; the rest is owed no more.

    Raises:
        Unbalanced: the parts do not sum to the amount.
    """
    return balanced([PostingLine(Account.RECEIVABLE, -amount_minor, about), *_lost_lines(parts, 1)])


def loss_expected(amount_minor: int, about: About) -> Lines:
    """Rule 20: what is expected never to be paid is an expense before it is written off."""
    return pair(Account.IMPAIRMENT, Account.LOSS_ALLOWANCE, amount_minor, about)


def recovered(
    parts: Iterable[LostPart], amount_minor: int, about: About, into: Account = Account.CASH
) -> Lines:
    """Rule 21: what comes after all undoes the expense first, then restores the promise.

    Args:
        into: Cash; or the receivable, where a note takes off what was given up.
    """
    return balanced([PostingLine(into, amount_minor, about), *_lost_lines(parts, -1)])


def _lost_lines(parts: Iterable[LostPart], sign: int) -> Iterator[PostingLine]:
    for part in parts:
        yield PostingLine(Account.IMPAIRMENT, sign * part.impaired_minor, part.about)
        if part.promise is not None:
            yield PostingLine(part.promise, sign * part.promise_minor, part.about)
