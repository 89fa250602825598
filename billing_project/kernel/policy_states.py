"""The state of a policy change at an instant; pure.

Stored is only what people did. Whether a version governs follows from its dates and from the
versions that came after it, so nothing has to run at midnight for it to be true.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class PolicyState(StrEnum):
    """What a change is at an instant."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"  # Its effective date is yet to come.
    EFFECTIVE = "effective"
    SUPERSEDED = "superseded"  # A later version governs, or it expired.
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Term:
    """When an approved version governs, if no later one does: [start_at, end_at)."""

    start_at: datetime
    end_at: datetime | None = None  # None: until replaced.

    def holds(self, at: datetime) -> bool:
        """Tell whether an instant lies inside."""
        return self.start_at <= at and (self.end_at is None or at < self.end_at)


def state_at(status: str, term: Term, later: Sequence[Term], at: datetime) -> PolicyState:
    """Return the state of a change.

    Args:
        status: As stored.
        later: Terms of the approved versions of the same rule that go before this one where both
            hold: a later effective date, or the same and a higher number.
        at: The instant that is asked about.
    """
    if status != PolicyState.APPROVED:
        return PolicyState(status)
    if at < term.start_at:
        return PolicyState.APPROVED
    if not term.holds(at) or any(other.holds(at) for other in later):
        return PolicyState.SUPERSEDED
    return PolicyState.EFFECTIVE


def state_of_parts(
    status: str, term: Term, later: Sequence[Sequence[Term]], at: datetime
) -> PolicyState:
    """Return the state of a change that is about several: it governs while it does for any.

    Args:
        later: As for `state_at`, for each whom the change is about; at least one.
    """
    states = {state_at(status, term, of_one, at) for of_one in later}
    return PolicyState.EFFECTIVE if PolicyState.EFFECTIVE in states else states.pop()


def superseded_from(later: Sequence[Sequence[Term]]) -> datetime | None:
    """Return when the last one whom a change is about has a later version; None: not known."""
    starts = [min((term.start_at for term in of_one), default=None) for of_one in later]
    known = [start for start in starts if start is not None]
    return max(known) if len(known) == len(starts) else None
