"""How an unpaid claim that is given up divides into a loss and a promise that ends.

What was delivered and is not paid is an expense (IFRS 9 5.5, ASC 326-20), or, by policy, a price
that was never expected in full (IFRS 15.52); what was not delivered was never earned, and its
liability is released (IFRS 15.108).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import allocate, half_up, prorate


def expected_loss(open_minor: Mapping[str, int], rates: Mapping[str, Decimal]) -> int:
    """Return what is expected to be lost of open claims, by how late they are (IFRS 9 5.5.15).

    Args:
        open_minor: By bucket of the ageing; what customers have paid too much lowers nothing.
        rates: Shares by bucket, 0 to 1; nothing is lost of a bucket that is not named.
    """
    exact = sum(
        (max(minor, 0) * rates.get(bucket, Decimal(0)) for bucket, minor in open_minor.items()),
        Decimal(0),
    )
    return half_up(exact)


@dataclass(frozen=True)
class Unpaid:
    """One line of the claim: what of it notes left, and how far its promise is kept.

    Attributes:
        claimed_minor: The line with its tax, less notes, > 0 for at least one line.
        tax_minor: How much of that is tax: it stays payable, so that its share is lost.
        price_minor, recognised_minor: Of its promise; equal where everything is delivered.
    """

    claimed_minor: int
    price_minor: int
    recognised_minor: int
    tax_minor: int = 0


@dataclass(frozen=True)
class Loss:
    """What is given up of one line; the parts are its share of the unpaid amount.

    Attributes:
        impaired_minor: An expense: what was delivered, and tax that stays payable.
        released_minor: What is not delivered.
        conceded_minor: What was delivered, net, where that is a concession.
    """

    impaired_minor: int
    released_minor: int
    conceded_minor: int = 0

    @property
    def lost_minor(self) -> int:
        """What was delivered, and tax."""
        return self.impaired_minor + self.conceded_minor


def losses(
    unpaid_minor: int, lines: Sequence[Unpaid], *, is_concession: bool = False
) -> list[Loss]:
    """Divide what is not paid over the lines, and each share by how far its promise is kept.

    Args:
        unpaid_minor: > 0, at most the sum of the claims.
        is_concession: What was delivered comes off revenue (IFRS 15.52). Tax never was revenue
            (IFRS 15.47): its share stays an expense.

    Returns:
        One loss a line; all of them sum to `unpaid_minor`. No more is released than is deferred.
    """
    shares = allocate(unpaid_minor, [line.claimed_minor for line in lines])
    found = [_loss(share, line) for share, line in zip(shares, lines, strict=True)]
    if not is_concession:
        return found
    return [_conceded(loss, line) for loss, line in zip(found, lines, strict=True)]


def _conceded(loss: Loss, line: Unpaid) -> Loss:
    share = loss.impaired_minor + loss.released_minor
    tax = prorate(line.tax_minor, Decimal(share), Decimal(line.claimed_minor)) if share else 0
    impaired = min(tax, loss.impaired_minor)
    return Loss(impaired, loss.released_minor, loss.impaired_minor - impaired)


def _loss(share_minor: int, line: Unpaid) -> Loss:
    deferred = line.price_minor - line.recognised_minor
    if deferred <= 0:
        return Loss(share_minor, 0)
    net = Decimal(line.claimed_minor - line.tax_minor)
    undelivered = net * deferred / line.price_minor
    released = min(prorate(share_minor, undelivered, Decimal(line.claimed_minor)), deferred)
    return Loss(share_minor - released, released)


def recovery(amount_minor: int, given_up: Sequence[Loss]) -> list[Loss]:
    """Divide what came after all: it undoes the losses in their order, then restores promises.

    Of a line, what was expensed and what was conceded come back in proportion.

    Args:
        amount_minor: > 0, at most what is still given up.
        given_up: By line, less what earlier recoveries brought back.

    Returns:
        One part a line; all of them sum to `amount_minor`.
    """
    left, lost, restored = amount_minor, [], []
    for loss in given_up:
        lost.append(min(left, loss.lost_minor))
        left -= lost[-1]
    for loss in given_up:
        restored.append(min(left, loss.released_minor))
        left -= restored[-1]
    return [_back(*one) for one in zip(lost, restored, given_up, strict=True)]


def _back(lost_minor: int, restored_minor: int, of: Loss) -> Loss:
    impaired, conceded = lost_minor, 0
    if of.conceded_minor and lost_minor:
        impaired, conceded = allocate(lost_minor, [of.impaired_minor, of.conceded_minor])
    return Loss(impaired, restored_minor, conceded)
