"""What holds for a subscription at an instant, and which period begins there.

A first plan and dated changes enter; the plan, the standing and the next period's bounds leave. An
interval is counted from an anchor: the subscription's start, or the last change that began a new
count. Nothing is charged or stored here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from billing_project.kernel.period import Period
from invoicing.periods import Unit, bound, month_start


class Kind(StrEnum):
    """What a change changes."""

    PLAN = "plan"
    TRIAL = "trial"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


class Moment(StrEnum):
    """When a change takes effect, if not at an instant that is named."""

    NOW = "now"
    PERIOD_END = "period_end"


class Standing(StrEnum):
    """What a period brings: fee and included credits, credits only, or neither."""

    ACTIVE = "active"
    TRIAL = "trial"
    PAUSED = "paused"


_STANDINGS = {
    Kind.TRIAL: Standing.TRIAL,
    Kind.PAUSE: Standing.PAUSED,
    Kind.RESUME: Standing.ACTIVE,
}


@dataclass(frozen=True)
class Terms:
    """A plan version, as far as it decides about time."""

    key: int
    unit: Unit
    count: int
    is_calendar: bool = False  # Intervals begin with a month of the calendar, not with the start.

    @property
    def interval(self) -> tuple[Unit, int]:
        """How often it renews."""
        return self.unit, self.count


@dataclass(frozen=True)
class Step:
    """One change that was made and not undone."""

    at: datetime
    kind: Kind
    terms: Terms | None = None  # Of a change of plan.


@dataclass(frozen=True)
class Phase:
    """What holds from an instant until the next change."""

    terms: Terms
    standing: Standing
    anchor: datetime


@dataclass(frozen=True)
class Opening:
    """A period that begins: until the next change, or as long as its interval goes on.

    Attributes:
        period: From its start to the end of the interval.
        interval: The whole interval of which the period is all, or what is left.
        changes_at: The next change within the period; None if nothing is due before its end.
    """

    phase: Phase
    period: Period
    interval: Period
    changes_at: datetime | None

    @property
    def ends_at(self) -> datetime:
        """Where the next period begins, if one does."""
        return self.changes_at or self.period.end


def phase_at(start: datetime, first: Terms, steps: Sequence[Step], at: datetime) -> Phase:
    """Fold the changes that took effect by an instant, in the order of their times.

    A plan with another interval begins a new count, and so does the end of a trial; all other
    changes keep the anchor, so that a customer's billing day stays.
    """
    phase = Phase(first, Standing.ACTIVE, start)
    for step in sorted(steps, key=_order):
        if step.at > at:
            break
        phase = _after(phase, step)
    return phase


def opening(
    start: datetime,
    first: Terms,
    steps: Sequence[Step],
    *,
    begins: datetime,
    is_cut: bool,
    ends_at: datetime | None,
    zone: str,
) -> Opening:
    """Return the period that begins where the one before ended.

    Args:
        begins: The end of the period before, or the subscription's start.
        is_cut: The period before was cut: what begins is the rest of its interval. Otherwise an
            interval begins, also where a zone's rules have moved its bound since.
        ends_at: The subscription's end; None: it goes on.
        zone: The customer's IANA time zone.
    """
    phase = phase_at(start, first, steps, begins)
    if phase.terms.is_calendar:  # Every bound is a month's: what begins elsewhere is a rest.
        phase, is_cut = replace(phase, anchor=month_start(phase.anchor, zone)), True
    index = _index(phase, begins, is_cut, zone)
    low = _bound(phase, index, zone) if is_cut else begins
    high = _bound(phase, index + 1, zone)
    end = high if ends_at is None else min(high, ends_at)
    following = [step.at for step in steps if begins < step.at < end]
    return Opening(phase, Period(begins, end), Period(low, high), min(following, default=None))


def openings(
    start: datetime,
    first: Terms,
    steps: Sequence[Step],
    *,
    begins: datetime,
    is_cut: bool,
    ends_at: datetime | None,
    zone: str,
) -> Iterator[Opening]:
    """Yield the periods that follow one another from an instant on, as `opening` would.

    Each instant until the subscription's end lies in exactly one of them, cut at its change.
    """
    while ends_at is None or begins < ends_at:
        opened = opening(
            start, first, steps, begins=begins, is_cut=is_cut, ends_at=ends_at, zone=zone
        )
        yield opened
        begins, is_cut = opened.ends_at, opened.changes_at is not None


def _after(phase: Phase, step: Step) -> Phase:
    if step.kind == Kind.PLAN:
        assert step.terms is not None, "a change of plan names the plan"
        is_new_count = step.terms.interval != phase.terms.interval
        return replace(phase, terms=step.terms, anchor=step.at if is_new_count else phase.anchor)
    standing = _STANDINGS.get(step.kind, phase.standing)
    ends_trial = phase.standing == Standing.TRIAL and standing == Standing.ACTIVE
    return replace(phase, standing=standing, anchor=step.at if ends_trial else phase.anchor)


def _order(step: Step) -> tuple[datetime, str]:
    return step.at, step.kind.value


def _index(phase: Phase, begins: datetime, is_cut: bool, zone: str) -> int:
    """Find the interval that an instant lies in, or, where one begins, the nearest bound."""
    low, high = 0, 1
    while _bound(phase, high, zone) <= begins:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _bound(phase, middle, zone) <= begins else (low, middle)
    if is_cut:
        return low
    before = begins - _bound(phase, low, zone)
    return low if before <= _bound(phase, high, zone) - begins else high


def _bound(phase: Phase, index: int, zone: str) -> datetime:
    return bound(phase.anchor, phase.terms.unit, phase.terms.count, index, zone)
