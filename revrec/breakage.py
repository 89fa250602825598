"""Credits that nobody will use: when their price becomes revenue.

What a cohort's credits cost comes in, in minor units; what account 2190 must hold leaves. A cohort
is all grants of one kind that were sold in one month: never a single customer's grant, whose
liability would reach zero while credits are left. Source: IFRS 15.B44-B47, 59 (606-10-55-46 to
55-49); accounting.md 1.4, rules 24 and 25.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.money import prorate
from revrec.posting import About, Account, Lines, pair


class Method(StrEnum):
    """When breakage is recognised."""

    REMOTE = "remote"  # Once the credits have expired: no reliable estimate is needed.
    PROPORTIONAL = "proportional"  # As the other credits are used, by an approved estimate.
    ESCHEAT = "escheat"  # Never: the law claims what is left (B47).


@dataclass(frozen=True)
class Cohort:
    """Where the credits of a cohort stand, at their cost basis in minor units.

    Attributes:
        consumed_minor: Used so far.
        open_minor: Neither used nor ended, refundable ones left out; consumed + open is the price.
    """

    consumed_minor: int
    open_minor: int

    @property
    def price_minor(self) -> int:
        """What was allocated to the cohort's credits, less what has ended."""
        return self.consumed_minor + self.open_minor


def never_used(cohort: Cohort, price_minor: int, rate: Decimal) -> int:
    """Return how much of the open credits is expected never to be used.

    Args:
        price_minor: The cohort's whole price at its sale, ended credits included.
        rate: Share of that price expected to break in all, 0 to 1, as approved.

    Returns:
        At least 0 and at most what is open; what has ended already counts towards the rate.
    """
    ended_minor = price_minor - cohort.price_minor
    broken = prorate(price_minor, rate, Decimal(1))
    return max(0, min(broken - ended_minor, cohort.open_minor))


def contra_target(consumed_minor: int, expected_minor: int, unused_minor: int) -> int:
    """Return what 2190 must hold: breakage earned in proportion to the use so far.

    Args:
        expected_minor: Still expected to be used.
        unused_minor: Expected never to be used.

    Returns:
        round(unused x consumed / (consumed + expected)); 0 while nobody is expected to use any.
    """
    whole = consumed_minor + expected_minor
    return prorate(unused_minor, Decimal(consumed_minor), Decimal(whole)) if whole else 0


def trued_up(
    target_minor: int, held_minor: int, about: About, revenue: Account = Account.BREAKAGE_REVENUE
) -> Lines:
    """Rule 25: bring 2190 to its target; the difference is revenue, or takes it back.

    Args:
        revenue: Where the end of such credits is earned; of commitments it is a shortfall.
    """
    return pair(Account.EXPECTED_BREAKAGE, revenue, target_minor - held_minor, about)


def escheated(amount_minor: int, about: About) -> Lines:
    """Rule 24 where the law claims what ended: owed, and no revenue of a closed month (B47)."""
    return pair(Account.BREAKAGE_REVENUE, Account.UNCLAIMED_PROPERTY, amount_minor, about)
