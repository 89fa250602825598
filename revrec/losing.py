"""The posting rules of claims that are given up, and of what comes after all; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from revrec.posting import About, Account, Lines, PostingLine, balanced, pair


@dataclass(frozen=True)
class LostPart:
    """What is given up of one promise: delivered and unpaid, and not delivered.

    Attributes:
        promise: Where the undelivered part stood; None where everything was delivered.
        conceded_minor: What of the delivered part is taken off revenue instead of being expensed.
    """

    promise: Account | None
    impaired_minor: int
    promise_minor: int
    about: About
    conceded_minor: int = 0


def written_off(parts: Iterable[LostPart], amount_minor: int, about: About) -> Lines:
    """Rule 20: what was delivered and is not paid is an expense, or a concession of its price.

    The rest is owed no more.

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
    """Rule 21: what comes after all undoes the loss first, where it stands; then the promise.

    Args:
        into: Cash; or the receivable, where a note takes off what was given up.
    """
    return balanced([PostingLine(into, amount_minor, about), *_lost_lines(parts, -1)])


def _lost_lines(parts: Iterable[LostPart], sign: int) -> Iterator[PostingLine]:
    for part in parts:
        yield PostingLine(Account.IMPAIRMENT, sign * part.impaired_minor, part.about)
        # A concession is about a line: the promise that was kept stays earned.
        on_line = About(part.about.currency, invoice_line_id=part.about.invoice_line_id)
        yield PostingLine(Account.CREDIT_NOTES, sign * part.conceded_minor, on_line)
        if part.promise is not None:
            yield PostingLine(part.promise, sign * part.promise_minor, part.about)
