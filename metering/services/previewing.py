"""Preview a backfill by doing it and taking it back: what is shown is what would happen.

The run holds the locks of a real one and leaves nothing behind. Quantities are compared by day;
where hours do not add up (max, last, unique), hour by hour.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

from billing_project.kernel.models import User
from billing_project.kernel.quantity import plain
from metering.aggregation import ADDITIVE
from metering.models import Backfill, BackfillEvent, UsageWindow
from metering.selectors.meters import meter_rules
from metering.selectors.windows import windows_in
from metering.services.aggregate import aggregate_batches
from metering.services.backfilling import Carried, Tell, carry_out, tell_nobody
from metering.services.retrying import atomic_with_retries

T = TypeVar("T")
_Key = tuple[str, str, str, str, tuple[tuple[str, str], ...]]  # Time, meter, unit, workspace, ...
_ZERO = Decimal(0)


class _TakenBack(Exception):
    """Ends the trial run, so that nothing of it is kept; carries what was seen."""

    def __init__(self, seen: Any) -> None:
        super().__init__()
        self.seen = seen


@dataclass(frozen=True)
class QuantityChange:
    """What a meter says of a day (or hour) before and after."""

    time: str  # "2026-10-22", or "2026-10-22T14" for meters that do not add up.
    meter: str
    unit: str
    workspace: str
    dimensions: dict[str, str]
    before: Decimal
    after: Decimal

    @property
    def difference(self) -> Decimal:
        """How much more it would be."""
        return self.after - self.before

    def as_content(self) -> dict[str, object]:
        """Return what a proposal keeps of it."""
        return {
            "time": self.time,
            "meter": self.meter,
            "unit": self.unit,
            "workspace": self.workspace,
            "dimensions": self.dimensions,
            "before": plain(self.before),
            "after": plain(self.after),
        }


@dataclass(frozen=True)
class Preview(Generic[T]):
    """What a backfill would do, and what somebody measured before and after."""

    line_count: int
    carried: Carried
    quantities: tuple[QuantityChange, ...]  # By time and meter; only those that differ.
    before: T
    after: T


def try_backfill(
    *,
    backfill: Backfill,
    by: User,
    at: datetime,
    measure: Callable[[], T],
    tell: Tell = tell_nobody,
) -> Preview[T]:
    """Run a backfill on trial and return what it changed; nothing of it stays.

    Args:
        measure: Is asked before and after, inside the trial.

    Raises:
        Conflict: an identifier is stored elsewhere.
    """
    aggregate_batches(at=at)
    try:
        _try(backfill, by, at, measure, tell)
    except _TakenBack as end:
        seen: Preview[T] = end.seen
        return seen
    raise AssertionError("a trial ends by being taken back")


@atomic_with_retries
def _try(backfill: Backfill, by: User, at: datetime, measure: Callable[[], T], tell: Tell) -> None:
    raise _TakenBack(_tried(backfill, by, at, measure, tell))


def _tried(
    backfill: Backfill, by: User, at: datetime, measure: Callable[[], T], tell: Tell
) -> Preview[T]:
    before, quantities_before = measure(), _quantities(backfill, at)
    carried = carry_out(backfill, by, at, tell=tell)
    changed = carried.counts.changed
    tell("rating what it would change", changed, changed)
    quantities_after = _quantities(backfill, at)
    return Preview(
        line_count=BackfillEvent.objects.filter(backfill=backfill).count(),
        carried=carried,
        quantities=_changes(quantities_before, quantities_after),
        before=before,
        after=measure(),
    )


def _changes(before: dict[_Key, Decimal], after: dict[_Key, Decimal]) -> tuple[QuantityChange, ...]:
    return tuple(
        QuantityChange(*key[:4], dict(key[4]), before.get(key, _ZERO), after.get(key, _ZERO))
        for key in sorted(before.keys() | after.keys())
        if before.get(key, _ZERO) != after.get(key, _ZERO)
    )


def _quantities(backfill: Backfill, at: datetime) -> dict[_Key, Decimal]:
    """Sum the windows of the range, and of what follows where levels go on."""
    totals: dict[_Key, Decimal] = {}
    has_levels = any(rule.is_level for rule in meter_rules(backfill.event_names or None))
    end = max(backfill.end_at, at) if has_levels else backfill.end_at
    windows = windows_in(backfill.customer_id, backfill.start_at, end)
    for window in windows.iterator(chunk_size=5000):
        key = _key(window)
        totals[key] = totals.get(key, _ZERO) + window.quantity
    return totals


def _key(window: UsageWindow) -> _Key:
    meter = window.meter
    form = "%Y-%m-%d" if meter.aggregation in ADDITIVE else "%Y-%m-%dT%H"
    workspace = window.workspace.external_id if window.workspace else ""
    dimensions = tuple(sorted((name, str(value)) for name, value in window.dimensions.items()))
    return window.start_at.strftime(form), meter.code, meter.unit, workspace, dimensions
