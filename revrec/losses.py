"""Money that was expected and does not come: written off, voided, disputed, and found again.

The part of a claim that was delivered is a loss; the rest was never earned and releases its
liability. Bad debt is an expense, not less revenue. Source: IFRS 15.52, 88, 108, IFRS 9 5.5;
accounting.md 1.7, rules 17-22.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import prorate
from revrec.posting import About, Account, Lines, PostingLine, balanced


@dataclass(frozen=True)
class LostPart:
    """What is lost of one promise's claim.

    Attributes:
        delivered_minor: Earned already.
        undelivered_minor: Still owed to the customer as service.
        liability: Where that stands; None where all was earned.
    """

    delivered_minor: int
    undelivered_minor: int
    liability: Account | None
    about: About


@dataclass(frozen=True)
class Loss:
    """How an amount that does not come divides."""

    delivered_minor: int
    undelivered_minor: int
    excess_minor: int = 0  # Beyond the claim itself: nothing was ever sold for it.


def split_loss(amount_minor: int, price_minor: int, recognised_minor: int) -> Loss:
    """Divide what is lost of a promise's claim, in proportion to what of it is earned.

    Args:
        amount_minor: >= 0; beyond the price it is excess.
        price_minor: What the promise is claimed or paid for, after notes and refunds.
        recognised_minor: What of it is earned.
    """
    lost = min(amount_minor, price_minor)
    delivered = prorate(lost, Decimal(recognised_minor), Decimal(price_minor)) if price_minor else 0
    return Loss(delivered, lost - delivered, amount_minor - lost)


def written_off(parts: Sequence[LostPart], tax_minor: int, about: About) -> Lines:
    """Rule 20: a claim that will not be paid; tax comes back where the law relieves it."""
    return _given_up(Account.RECEIVABLE, Account.IMPAIRMENT, parts, tax_minor, about)


def voided(parts: Sequence[LostPart], tax_minor: int, about: About) -> Lines:
    """Rule 22: a claim that should not have been made; what was earned of it is taken back."""
    return _given_up(Account.RECEIVABLE, Account.CREDIT_NOTES, parts, tax_minor, about)


def recovered(impaired_minor: int, rest_minor: int, rest_to: Account, about: About) -> Lines:
    """Rule 21: a written-off claim is paid after all.

    Args:
        impaired_minor: What had been an expense, as far as it is paid.
        rest_minor: What had been released undelivered.
        rest_to: 2120 where the service goes on, 4000 where nothing is owed any more.
    """
    return balanced(
        [
            PostingLine(Account.CASH, impaired_minor + rest_minor, about),
            PostingLine(Account.IMPAIRMENT, -impaired_minor, about),
            PostingLine(rest_to, -rest_minor, about),
        ]
    )


def dispute_opened(amount_minor: int, fee_minor: int, about: About) -> Lines:
    """Rule 17: the bank takes money back for now; neither delivery nor entitlement changes."""
    return balanced(
        [
            PostingLine(Account.DISPUTED, amount_minor, about),
            PostingLine(Account.DISPUTE_FEES, fee_minor, about),
            PostingLine(Account.CASH, -amount_minor - fee_minor, about),
        ]
    )


def dispute_won(amount_minor: int, about: About) -> Lines:
    """Rule 18: the money comes back."""
    return balanced(
        [
            PostingLine(Account.CASH, amount_minor, about),
            PostingLine(Account.DISPUTED, -amount_minor, about),
        ]
    )


def dispute_lost(
    parts: Sequence[LostPart], tax_minor: int, about: About, *, is_credit_loss: bool
) -> Lines:
    """Rule 19: the money is gone.

    Args:
        is_credit_loss: Fraud is an expense (6200); a customer who was right is less revenue (4920).
    """
    loss = Account.IMPAIRMENT if is_credit_loss else Account.DISPUTES_LOST
    return _given_up(Account.DISPUTED, loss, parts, tax_minor, about)


def _given_up(
    claim: Account, loss: Account, parts: Sequence[LostPart], tax_minor: int, about: About
) -> Lines:
    lines = [PostingLine(Account.TAX_PAYABLE, tax_minor, about)]
    total = tax_minor
    for part in parts:
        lines.append(PostingLine(loss, part.delivered_minor, part.about))
        if part.liability is not None:
            lines.append(PostingLine(part.liability, part.undelivered_minor, part.about))
        total += part.delivered_minor + part.undelivered_minor
    return balanced([*lines, PostingLine(claim, -total, about)])
