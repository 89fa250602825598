"""Consideration that is not fixed: estimated, constrained, and caught up when the estimate moves.

Outcomes with their probabilities come in; the amount that may be included leaves. Source: IFRS
15.50-59 (606-10-32-5 to 32-14); accounting.md 1.1 and 1.5, rule 9.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.errors import Invalid
from revrec.posting import About, Account, Lines, pair

_ONE = Decimal(1)


class EstimateMethod(StrEnum):
    """How an uncertain amount is estimated (IFRS 15.53)."""

    EXPECTED_VALUE = "expected_value"  # Many similar contracts.
    MOST_LIKELY = "most_likely"  # Two outcomes, or few.


@dataclass(frozen=True)
class Outcome:
    """One amount that may come out, in major units, with its probability, 0 to 1."""

    amount: Decimal
    probability: Decimal


def expected_value(outcomes: Sequence[Outcome]) -> Decimal:
    """Return the sum of the outcomes weighted by their probability, unrounded."""
    _refuse_incomplete(outcomes)
    return sum((o.amount * o.probability for o in outcomes), Decimal(0))


def most_likely(outcomes: Sequence[Outcome]) -> Decimal:
    """Return the single most likely amount; of equals the lower, which reverses less."""
    _refuse_incomplete(outcomes)
    return min(outcomes, key=lambda outcome: (-outcome.probability, outcome.amount)).amount


def assured(outcomes: Sequence[Outcome], confidence: Decimal) -> Decimal:
    """Return the largest amount that comes out, or more, with at least so much probability.

    Args:
        confidence: What "highly probable" (IFRS) or "probable" (US GAAP) is set to, 0 to 1.
    """
    _refuse_incomplete(outcomes)
    reached = Decimal(0)
    for outcome in sorted(outcomes, key=lambda o: o.amount, reverse=True):
        reached += outcome.probability
        if reached >= confidence:
            return outcome.amount
    raise Invalid("no amount is assured with more than certainty", field="confidence")


def included(outcomes: Sequence[Outcome], method: EstimateMethod, confidence: Decimal) -> Decimal:
    """Return what the transaction price includes: the estimate, but no more than is assured.

    Source: IFRS 15.53 and the constraint of 56-58.
    """
    estimate = {
        EstimateMethod.EXPECTED_VALUE: expected_value,
        EstimateMethod.MOST_LIKELY: most_likely,
    }[method](outcomes)
    return min(estimate, assured(outcomes, confidence))


def refund_expected(before_minor: int, now_minor: int, revenue: Account, about: About) -> Lines:
    """Bring an estimate of refunds to its new amount; the difference is caught up in revenue."""
    return pair(revenue, Account.REFUND_LIABILITY, now_minor - before_minor, about)


def _refuse_incomplete(outcomes: Sequence[Outcome]) -> None:
    if any(not 0 <= outcome.probability <= 1 for outcome in outcomes):
        raise Invalid("a probability is 0 to 1", field="outcomes")
    if sum((outcome.probability for outcome in outcomes), Decimal(0)) != _ONE:
        raise Invalid("the probabilities of all outcomes sum to 1", field="outcomes")
