"""Posting rules of what a payment provider did besides paying: fees, overpayments, disputes.

Pure, like `posting`. Numbers of rules are those of accounting.md, section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import allocate, prorate
from revrec.posting import About, Account, Lines, PostingLine, balanced, pair

FRAUD = "fraudulent"  # The bank's word for why a customer disputes.


@dataclass(frozen=True)
class Delivery:
    """One line of a disputed invoice.

    Attributes:
        left_minor: Its claim, tax included, less what notes took off it.
        liability: Where the undelivered part is still owed as service; None: all was delivered.
        deferred_minor: How much that is, net.
        tax_minor: How much of what is left is tax.
    """

    left_minor: int
    liability: Account | None
    deferred_minor: int
    about: About
    tax_minor: int = 0


@dataclass(frozen=True)
class Loss:
    """What a lost dispute takes off one line: a promise that need not be kept, tax, and a loss."""

    released_minor: int
    lost_minor: int
    of: Delivery
    tax_minor: int = 0


def overpaid(amount_minor: int, about: About) -> Lines:
    """Rule 3: money beyond the claim is owed back."""
    return pair(Account.CASH, Account.CUSTOMER_BALANCE, amount_minor, about)


def fee_kept(amount_minor: int, is_dispute: bool, about: About) -> Lines:
    """Rules 2 and 17: what the provider kept for itself."""
    account = Account.DISPUTE_FEES if is_dispute else Account.PROCESSOR_FEES
    return pair(account, Account.CASH, amount_minor, about)


def dispute_opened(amount_minor: int, about: About) -> Lines:
    """Rules 17 and, negative, 18: contested money is parked until the bank decides."""
    return pair(Account.DISPUTED, Account.CASH, amount_minor, about)


def losses(amount_minor: int, deliveries: Sequence[Delivery]) -> tuple[list[Loss], int]:
    """Divide a lost dispute over the lines of its invoice, by what they still claim.

    On each line the tax of its share is not owed any more, and what is not delivered yet ends;
    only the rest is a loss.

    Returns:
        Losses by line, and what lies on no line: the invoice claims less by now than was disputed.
    """
    claimed = sum(one.left_minor for one in deliveries)
    on_lines = min(amount_minor, claimed)
    if not on_lines:
        return [], amount_minor
    parts = allocate(on_lines, [one.left_minor for one in deliveries])
    found = [_loss(part, one) for part, one in zip(parts, deliveries, strict=True)]
    return found, amount_minor - on_lines


def _loss(share_minor: int, of: Delivery) -> Loss:
    tax = prorate(of.tax_minor, Decimal(share_minor), Decimal(of.left_minor)) if share_minor else 0
    released = min(share_minor - tax, of.deferred_minor)
    return Loss(released, share_minor - tax - released, of, tax)


def dispute_lost(
    found: Sequence[Loss],
    elsewhere_minor: int,
    is_impairment: bool,
    about: About,
    refunded_minor: int = 0,
) -> Lines:
    """Rule 19: what was delivered is lost, as an impairment or as a concession.

    Args:
        is_impairment: An expense (6200), as where it was fraud; else off revenue (4920).
        refunded_minor: What made refunds that were promised: it passes through cash.
    """
    account = Account.IMPAIRMENT if is_impairment else Account.DISPUTES_LOST
    lines = [
        PostingLine(account, elsewhere_minor, about),
        PostingLine(Account.CASH, refunded_minor, about),
    ]
    for loss in found:
        on_line = _without_promise(loss.of.about)
        lines.append(PostingLine(account, loss.lost_minor, on_line))
        lines.append(PostingLine(Account.TAX_PAYABLE, loss.tax_minor, on_line))
        if loss.of.liability is not None:
            lines.append(PostingLine(loss.of.liability, loss.released_minor, loss.of.about))
    total = sum(line.amount_minor for line in lines)
    return balanced([*lines, PostingLine(Account.DISPUTED, -total, about)])


def _without_promise(about: About) -> About:
    """A loss is about a line; the promise that was kept stays earned."""
    return About(about.currency, invoice_line_id=about.invoice_line_id)
