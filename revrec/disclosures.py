"""What the notes to the statements say, from figures that the ledger gives.

Source: IFRS 15.105-122 (606-10-45, 50); accounting.md 1.2 and 1.9.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.money import prorate
from billing_project.kernel.period import add_months

BANDS = ("up to 12 months", "13 to 24 months", "over 24 months")
_EDGES = (12, 24)  # Months from the balance sheet date.


@dataclass(frozen=True)
class Remaining:
    """What is still to be earned of one promise, evenly by day over [start_on, end_on).

    Without an end it is expected within the first band.
    """

    amount_minor: int
    start_on: date | None = None
    end_on: date | None = None


def in_bands(remaining: Iterable[Remaining], as_of: date) -> list[int]:
    """Divide what is still to be earned into BANDS by when it will be; they sum to the whole.

    Args:
        as_of: First day after the balance sheet date.
    """
    edges = [add_months(as_of, months, as_of.day) for months in _EDGES]
    sums = [0] * len(BANDS)
    for promise in remaining:
        for index, amount in enumerate(_split(promise, as_of, edges)):
            sums[index] += amount
    return sums


def _split(promise: Remaining, as_of: date, edges: Sequence[date]) -> list[int]:
    if promise.end_on is None:
        return [promise.amount_minor, *[0] * len(edges)]
    start = max(promise.start_on or as_of, as_of)
    whole = max((promise.end_on - start).days, 1)
    parts, before = [], 0
    for edge in (*edges, promise.end_on):
        done = min(max((edge - start).days, 0), whole) if edge < promise.end_on else whole
        through = prorate(promise.amount_minor, Decimal(done), Decimal(whole))
        parts.append(through - before)
        before = through
    return parts


class Framework(StrEnum):
    """The standard by which the notes are made."""

    IFRS = "ifrs"
    US_GAAP = "us_gaap"


@dataclass(frozen=True)
class Exemptions:
    """What of the remaining obligations need not be said, and is not (IFRS 15.121, 606-10-50-14).

    Attributes:
        short: Promises that were made for a year or less: 121(a), 50-14(a).
        as_invoiced: What is invoiced as it is earned: 121(b), 50-14(b).
        usage: Usage yet to come, of promises that it alone pays for: 50-14A; in US GAAP only.
    """

    framework: Framework = Framework.IFRS
    short: bool = False
    as_invoiced: bool = False
    usage: bool = False

    def paragraphs(self) -> list[str]:
        """Say which are used, as the notes have to (122, 50-15)."""
        is_ifrs = self.framework is Framework.IFRS
        said = []
        if self.short:
            said.append(
                "Promises made for a year or less are left out"
                f" ({'IFRS 15.121(a)' if is_ifrs else 'ASC 606-10-50-14(a)'})."
            )
        if self.as_invoiced:
            said.append(
                "Usage that is invoiced as it is earned is left out"
                f" ({'IFRS 15.121(b)' if is_ifrs else 'ASC 606-10-50-14(b)'})."
            )
        if self.usage:
            said.append(
                "Usage yet to come, which alone pays for its service, is left out"
                " (ASC 606-10-50-14A)."
            )
        return said


def is_short(start_on: date, end_on: date | None) -> bool:
    """Tell whether a promise was made for a year or less; one without an end was not.

    Args:
        end_on: Exclusive.
    """
    return end_on is not None and end_on <= add_months(start_on, 12, start_on.day)


def not_invoiced(minimum_minor: int, counted_minor: int) -> int:
    """Return what is fixed of a commitment and neither earned nor invoiced: RPO beside 2120."""
    return max(0, minimum_minor - counted_minor)


@dataclass(frozen=True)
class RollForward:
    """How contract liabilities came from opening to closing; amounts that lower them positive."""

    opening_minor: int
    billings_minor: int
    revenue_minor: int
    breakage_minor: int = 0
    refunds_minor: int = 0
    credit_notes_minor: int = 0
    other_minor: int = 0

    @property
    def closing_minor(self) -> int:
        """What must stand in the ledger."""
        return (
            self.opening_minor + self.billings_minor - self.revenue_minor - self.breakage_minor
            - self.refunds_minor - self.credit_notes_minor + self.other_minor
        )  # fmt: skip


@dataclass(frozen=True)
class Released:
    """Revenue that one promise or cohort released from its liability within a period."""

    amount_minor: int
    opening_minor: int  # What the promise carried when the period began; 0 if it is younger.


def from_opening(released: Iterable[Released]) -> int:
    """Return revenue that was in the liability when the period began: never more than that.

    Source: IFRS 15.116(b).
    """
    return sum(min(one.amount_minor, one.opening_minor) for one in released)


@dataclass(frozen=True)
class Claim:
    """An invoice in advance as it is posted: a receivable and, as large, a contract liability."""

    open_minor: int
    undelivered_minor: int
    due_on: date
    is_cancellable: bool


def hidden_pair(claim: Claim, on: date, *, until_paid: bool = False) -> int:
    """Return what is shown neither as receivable nor as liability on a day.

    Until a cancellable contract's price is due or paid nobody owes anything (Example 38, Case A).
    Posting stays gross: only the statement hides the pair.

    Args:
        until_paid: What is open is hidden although it is due, as far as it is undelivered.
    """
    if not until_paid and (not claim.is_cancellable or on >= claim.due_on):
        return 0
    return min(claim.open_minor, claim.undelivered_minor)
