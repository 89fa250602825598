"""Recorded = covered by credits + billed + left out for a reason: one billing period's account.

What the tables of the chain say of a period comes in, each figure summed by itself; what is
explained, with its reason, and what is not, leave. Windows are counted, charges are in credits;
amounts only say whether what is left over would be worth anything. Knows no tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from invoicing.claims import worth
from invoicing.lines import OveragePrice

_ZERO = Decimal(0)


class Cause(StrEnum):
    """Why usage of a period is not rated, or what was rated is on no issued invoice."""

    NO_RATE = "no approved rate"
    NO_BURN_ORDER = "no approved burn order"
    TO_RATE = "waits to be rated"
    ON_DRAFT = "on a draft"
    RUNNING = "its period goes on"
    PARKED = "parked, for somebody to release"
    TOO_SMALL = "worth less than the smallest amount"
    GIVEN_BACK = "given back to its grants by credit notes"
    OVERCHARGED = "claimed beyond what was used; a credit note evens it out"
    NO_PLAN = "no plan bills the period"
    NEXT_RUN = "the next run drafts it"


@dataclass(frozen=True)
class Figures:
    """What is known of a period.

    Attributes:
        recorded: Usage windows whose hour belongs to the period.
        rated: Windows that rating knows of the period.
        unrated: Windows that were never rated, by cause.
        charged, covered, overage: Credits of rated usage; what grants paid; what they did not.
        forgiven: Credits that notes gave back, while the usage stays charged.
        billed: Credits of issued overage lines, less what notes evened out.
        drafted: Credits of overage lines of drafts.
        price: What a credit of overage costs; None where no plan bills the period.
        claimed_minor: What the issued lines and notes claim for `billed`, in minor units.
        waits_since: When the last usage was rated that is on no line.
        is_parked: Whether a hold keeps its invoice from being made or issued.
    """

    start_at: datetime
    end_at: datetime
    recorded: int
    rated: int
    unrated: dict[Cause, int]
    charged: Decimal
    covered: Decimal
    overage: Decimal
    billed: Decimal
    drafted: Decimal
    price: OveragePrice | None
    claimed_minor: int = 0
    is_parked: bool = False
    forgiven: Decimal = _ZERO
    waits_since: datetime | None = None


@dataclass(frozen=True)
class Left:
    """So many credits that are on no issued invoice, and why."""

    cause: Cause
    credits: Decimal


@dataclass(frozen=True)
class Account:
    """A period's account; both remainders are zero where everything is explained."""

    left: Sequence[Left] = field(default_factory=tuple)
    unexplained_windows: int = 0
    unexplained_credits: Decimal = _ZERO

    @property
    def is_complete(self) -> bool:
        """Tell whether nothing is unexplained."""
        return not self.unexplained_windows and not self.unexplained_credits


def account_of(period: Figures, at: datetime, drafts_after: datetime) -> Account:
    """Explain a period's usage as of an instant.

    Args:
        drafts_after: Runs have drafted, or parked, what ended until then.
    """
    left = []
    if period.drafted:
        left.append(Left(Cause.ON_DRAFT, period.drafted))
    if period.forgiven:
        left.append(Left(Cause.GIVEN_BACK, period.forgiven))
    rest = period.overage - period.billed - period.drafted
    if rest and (cause := _cause(period, rest, at, drafts_after)):
        left.append(Left(cause, rest))
        rest = _ZERO
    return Account(
        tuple(left),
        period.recorded - period.rated - sum(period.unrated.values()),
        rest + (period.charged - period.covered - period.overage - period.forgiven),
    )


def _cause(period: Figures, rest: Decimal, at: datetime, drafts_after: datetime) -> Cause | None:
    """Say why credits are on no invoice and no draft; None where nothing says it."""
    if period.price is None:
        return Cause.NO_PLAN
    if rest < 0:
        return Cause.OVERCHARGED
    if at < period.end_at:
        return Cause.RUNNING
    if period.is_parked:
        return Cause.PARKED
    if worth(period.overage, period.price) - period.claimed_minor <= 0:
        return Cause.TOO_SMALL
    since = max(period.end_at, period.waits_since or period.end_at)
    return Cause.NEXT_RUN if since > drafts_after else None
