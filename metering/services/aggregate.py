"""Bring stored events into usage windows: each batch once, in the transaction of its effect.

Batches are taken by their state under SKIP LOCKED, never by "id greater than the last one": a
later commit may have a smaller id. The same row lock keeps an adjustment and the aggregator apart:
whoever comes second sees what the first one wrote (see `adjust`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import connection

from billing_project.kernel import outbox
from metering.models import EventBatch
from metering.selectors.meters import meter_rules
from metering.services.levels import carry_levels, settle_levels
from metering.services.retrying import atomic_with_retries
from metering.services.windows import Touched, add_to_windows, reread_windows

USAGE_CHANGED = "usage_changed"
_NAMED = 1_000  # Windows that a note names; of a customer with more, all are looked at.
_AT_ONCE = 200  # Batches of one transaction: a second of work under its window locks.
_LEVELS_AT_ONCE = 200  # At most 200 months of hours in one statement.

# One index range per batch; OFFSET 0 keeps the planner from reading whole partitions instead.
_EVENTS_OF_BATCHES = """
SELECT e.*, 1 AS sign FROM event_batch b CROSS JOIN LATERAL (
    SELECT e.id, e.customer_id, e.workspace_id, e.event_name, e.identifier, e."timestamp",
           e.properties
    FROM {events} e
    WHERE e.batch_id = b.id
      AND e.id BETWEEN b.first_event_id AND b.last_event_id
      AND e."timestamp" BETWEEN b.first_timestamp AND b.last_timestamp
    OFFSET 0
) e
WHERE b.id = ANY (%(batches)s)
"""
_HAVE_ADJUSTMENTS = """
SELECT EXISTS (
    SELECT FROM event_batch b JOIN meter_event_adjustment a
      ON a.event_id BETWEEN b.first_event_id AND b.last_event_id
    WHERE b.id = ANY (%s)
)
"""
# The planner knows nothing of rows that came a second ago. It shall hash what it sums, in memory,
# and not compile a plan that runs for tenths of a second.
_PLAN = "SET LOCAL enable_sort = off; SET LOCAL work_mem = '64MB'; SET LOCAL jit = off"


def aggregate_batches(*, at: datetime, limit: int = 1_000) -> int:
    """Aggregate waiting batches until none waits or `limit` were taken; return how many."""
    taken = 0
    while taken < limit:
        now_taken = _aggregate_some(at, min(_AT_ONCE, limit - taken))
        if not now_taken:
            break
        taken += now_taken
    return taken


def carry_idle_hours(*, at: datetime) -> int:
    """Write the hours that passed while levels went on; return how many windows changed.

    Up to the last whole hour. A level that somebody else is writing is left to him.
    """
    written = 0
    while True:
        carried, changed = _carry_some(at)
        if not carried:
            return written
        written += changed


@atomic_with_retries
def _carry_some(at: datetime) -> tuple[int, int]:
    carried, touched = carry_levels(at=at, limit=_LEVELS_AT_ONCE)
    announce_usage(touched, at)
    return carried, len(touched)


@atomic_with_retries
def _aggregate_some(at: datetime, count: int) -> int:
    batches, since = _take(at, count)
    if since is None:
        return 0
    rules, source = meter_rules(), _source(batches)
    touched = add_to_windows(source, {"batches": batches}, rules, at)
    reread_windows(touched, rules)
    touched += settle_levels(source, {"batches": batches}, rules, at)
    announce_usage(touched, since)
    return len(batches)


def _source(batches: list[int]) -> str:
    """Choose what to read the locked batches from: the events, or what adjustments made of them.

    `used_meter_event` is the one answer to what an event says; without an adjustment it says what
    the event does, but asks for each one. No adjustment can come in while the batches are locked.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PLAN)
        cursor.execute(_HAVE_ADJUSTMENTS, [batches])
        are_adjusted: bool = cursor.fetchone()[0]
    return _EVENTS_OF_BATCHES.format(events="used_meter_event" if are_adjusted else "meter_event")


def announce_usage(touched: Iterable[Touched], since: datetime) -> None:
    """Leave each customer's note of windows that changed: named where they are few.

    Args:
        since: When the oldest of this usage was stored; it waits since then.
    """
    changed: dict[int, set[int]] = defaultdict(set)
    for window in touched:
        changed[window.customer_id].add(window.id)
    few: dict[int, Collection[int]] = {
        pk: windows for pk, windows in changed.items() if len(windows) <= _NAMED
    }
    outbox.publish_parts(USAGE_CHANGED, few, since)
    outbox.publish(USAGE_CHANGED, changed.keys() - few.keys(), since)


def _take(at: datetime, count: int) -> tuple[list[int], datetime | None]:
    """Lock waiting batches that nobody else holds, mark them as aggregated; tell the oldest."""
    waiting = EventBatch.objects.filter(aggregated_at__isnull=True).order_by("id")
    locked = waiting.select_for_update(skip_locked=True, no_key=True)[:count]
    received = dict(locked.values_list("id", "received_at"))
    EventBatch.objects.filter(pk__in=received).update(aggregated_at=at)
    return list(received), min(received.values(), default=None)
