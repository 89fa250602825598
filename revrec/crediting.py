"""How a credit note divides between revenue that was earned and a promise still owed.

The reason decides: what cancels the future comes off the liability; everything else is a change of
the transaction price, caught up at once for the part already satisfied (IFRS 15.87-90).
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.money import prorate


class Reason(StrEnum):
    """Why money is taken off an invoice."""

    BILLING_ERROR = "billing_error"
    DUPLICATE = "duplicate"
    CANCEL_FUTURE = "cancel_future"
    SERVICE_FAILURE = "service_failure"
    GOODWILL = "goodwill"
    PRICE_CONCESSION = "price_concession"
    FRAUDULENT = "fraudulent"
    ORDER_CHANGE = "order_change"
    PRODUCT_UNSATISFACTORY = "product_unsatisfactory"


@dataclass(frozen=True)
class Promise:
    """A performance obligation as it stands when the note is issued."""

    price_minor: int
    recognised_minor: int
    done: Decimal  # Progress in its own measure: days earned, credits used.
    whole: Decimal


@dataclass(frozen=True)
class CreditSplit:
    """What a note takes from revenue (contra, 4900) and from the liability."""

    contra_minor: int
    liability_minor: int


def split_credit(promise: Promise, amount_minor: int, reason: Reason) -> CreditSplit:
    """Divide what a note takes off one promise; the parts sum to the amount.

    Args:
        amount_minor: > 0 and at most the promise's price.
        reason: CANCEL_FUTURE reaches for the liability first; the others are proportional:
            contra = recognised - round(new price * progress).
    """
    deferred = promise.price_minor - promise.recognised_minor
    if reason is Reason.CANCEL_FUTURE:
        liability = min(amount_minor, deferred)
        return CreditSplit(amount_minor - liability, liability)
    done, whole = _progress(promise)
    earned = prorate(promise.price_minor - amount_minor, done, whole)
    contra = promise.recognised_minor - earned
    return CreditSplit(contra, amount_minor - contra)


@dataclass(frozen=True)
class RefundSplit:
    """What a refund of credits takes: from the liability, from breakage, and beyond both (4910)."""

    liability_minor: int
    breakage_minor: int
    beyond_minor: int


def split_refund(amount_minor: int, deferred_minor: int, broken_minor: int) -> RefundSplit:
    """Divide what goes back of a purchase whose credits were granted; the parts sum to the amount.

    What the unused credits carry goes back first: what is still owed of it, then what their end
    had made breakage. What of that is not given back is retained; what goes back beyond it was
    paid for credits that were used. Source: IFRS 15.55, B47; accounting.md, rule 16.

    Args:
        deferred_minor: What the liability still carries, >= 0.
        broken_minor: Breakage that the purchase earned, less what earlier refunds took, >= 0.
    """
    liability = min(amount_minor, deferred_minor)
    breakage = min(amount_minor - liability, broken_minor)
    return RefundSplit(liability, breakage, amount_minor - liability - breakage)


def restore(promise: Promise, amount_minor: int) -> CreditSplit:
    """Turn around what a note took off a promise; both parts are negative, or nothing.

    What is earned by then follows the measure of progress at the whole price, so that a void
    catches up at once what the note had taken from days that have passed (STR-29).

    Args:
        amount_minor: > 0, what the note took off.
    """
    earned = prorate(promise.price_minor + amount_minor, promise.done, promise.whole)
    contra = min(0, promise.recognised_minor - earned)
    return CreditSplit(contra, -amount_minor - contra)


def _progress(promise: Promise) -> tuple[Decimal, Decimal]:
    """Return progress as done of whole.

    What was recognised follows the measure of progress until a cancelled future or breakage cuts
    the promise short; from then on the money recognised is itself the measure.
    """
    if promise.recognised_minor == prorate(promise.price_minor, promise.done, promise.whole):
        return promise.done, promise.whole
    return Decimal(promise.recognised_minor), Decimal(promise.price_minor)
