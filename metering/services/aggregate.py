"""Bring stored events into usage windows: each batch once, in the transaction of its effect.

Batches are taken by their state under SKIP LOCKED, never by "id greater than the last one": a
later commit may have a smaller id. The same row lock keeps an adjustment and the aggregator apart:
whoever comes second sees what the first one wrote (see `adjust`).
"""

from datetime import datetime

from billing_project.kernel import outbox
from metering.models import EventBatch
from metering.selectors.meters import meter_rules
from metering.services.retrying import atomic_with_retries
from metering.services.windows import add_to_windows, reread_windows

USAGE_CHANGED = "usage_changed"
_AT_ONCE = 50  # Batches of one transaction: at most 50,000 events under its window locks.

# One index range per batch; OFFSET 0 keeps the planner from reading whole partitions instead.
_EVENTS_OF_BATCHES = """
SELECT e.* FROM event_batch b CROSS JOIN LATERAL (
    SELECT e.id, e.customer_id, e.workspace_id, e.event_name, e.identifier, e."timestamp",
           e.properties, 1 AS sign
    FROM used_meter_event e
    WHERE e.batch_id = b.id
      AND e.id BETWEEN b.first_event_id AND b.last_event_id
      AND e."timestamp" BETWEEN b.first_timestamp AND b.last_timestamp
    OFFSET 0
) e
WHERE b.id = ANY (%(batches)s)
"""


def aggregate_batches(*, at: datetime, limit: int = 200) -> int:
    """Aggregate waiting batches until none waits or `limit` were taken; return how many."""
    taken = 0
    while taken < limit:
        now_taken = _aggregate_some(at, min(_AT_ONCE, limit - taken))
        if not now_taken:
            break
        taken += now_taken
    return taken


@atomic_with_retries
def _aggregate_some(at: datetime, count: int) -> int:
    batches = _take(at, count)
    if not batches:
        return 0
    rules = meter_rules()
    touched = add_to_windows(_EVENTS_OF_BATCHES, {"batches": batches}, rules, at)
    reread_windows(touched, rules)
    outbox.publish(USAGE_CHANGED, (window.customer_id for window in touched), at)
    return len(batches)


def _take(at: datetime, count: int) -> list[int]:
    """Lock waiting batches that nobody else holds and mark them as aggregated."""
    waiting = EventBatch.objects.filter(aggregated_at__isnull=True).order_by("id")
    locked = waiting.select_for_update(skip_locked=True, no_key=True)[:count]
    ids = list(locked.values_list("id", flat=True))
    EventBatch.objects.filter(pk__in=ids).update(aggregated_at=at)
    return ids
