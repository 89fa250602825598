"""Write usage windows: add to them, or read them anew from the events.

Windows are locked in the order of their key by `add_to_windows`; `reread_windows` runs in a later
statement, so that it sees what another aggregator committed while this one waited for the lock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from metering.adding_sql import select_additions
from metering.aggregation import MeterRule
from metering.reading_sql import (
    Params,
    falls_into,
    governs,
    total_of,
    value_of,
)

_UPSERT = """
WITH used AS ({source}), reading AS ({readings})
INSERT INTO usage_window (customer_id, meter_id, workspace_id, dimensions, dimensions_key, start_at,
                          quantity, event_count, revision, updated_at)
SELECT customer_id, meter_id, workspace_id, dimensions::jsonb,
       encode(sha256(convert_to(dimensions, 'UTF8')), 'hex') AS dimensions_key, start_at,
       quantity, event_count, 1, %(at)s
FROM reading
ORDER BY customer_id, meter_id, workspace_id, dimensions_key, start_at
ON CONFLICT ON CONSTRAINT usage_window_once DO UPDATE
SET quantity = usage_window.quantity + excluded.quantity,
    event_count = usage_window.event_count + excluded.event_count,
    revision = usage_window.revision + 1, updated_at = excluded.updated_at
RETURNING id, customer_id, meter_id
"""
_REREAD = """
UPDATE usage_window w SET quantity = r.quantity, event_count = r.event_count
FROM ({totals}) r WHERE w.id = r.id
"""
_TOTAL = """
SELECT w.id, coalesce(t.quantity, 0) AS quantity, t.event_count
FROM usage_window w CROSS JOIN LATERAL (
    SELECT {total} AS quantity, count(*) AS event_count FROM (
        SELECT {value} AS value, e."timestamp", e.identifier FROM used_meter_event e
        WHERE e."timestamp" >= w.start_at AND e."timestamp" < w.start_at + interval '1 hour'
          AND {condition}
    ) rows
) t
WHERE w.id = ANY (%(windows)s) AND w.meter_id = %({key}_id)s AND {governs}
"""


@dataclass(frozen=True)
class Touched:
    """A window that was locked and has a new revision."""

    id: int
    customer_id: int
    meter_id: int


def add_to_windows(
    source: str, params: Params, rules: Iterable[MeterRule], at: datetime
) -> list[Touched]:
    """Add a source's events to their windows, making those that are missing.

    Args:
        source: A SELECT with the columns that `reading_sql` names; a sign of 0 only locks.
        rules: Those of time-weighted sums are left out: `levels` writes their windows.
    """
    additions = select_additions((rule for rule in rules if not rule.is_level), "used")
    if not additions.text:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            _UPSERT.format(source=source, readings=additions.text),
            {**params, **additions.params, "at": at},
        )
        return [Touched(*row) for row in cursor.fetchall()]


def reread_windows(touched: Sequence[Touched], rules: Iterable[MeterRule]) -> None:
    """Set the locked windows of max, min, last and unique to what their events say."""
    meters = {window.meter_id for window in touched}
    params: Params = {"windows": [window.id for window in touched]}
    texts = []
    for rule in rules:
        if rule.is_additive or rule.is_level or rule.id not in meters:
            continue
        condition, span = falls_into(rule), governs(rule, "w.start_at")
        params.update(condition.params)
        texts.append(
            _TOTAL.format(
                total=total_of(rule),
                value=value_of(rule),
                condition=condition.text,
                key=rule.key,
                governs=span.text,
            )
        )
    if texts:
        with connection.cursor() as cursor:
            cursor.execute(_REREAD.format(totals=" UNION ALL ".join(texts)), params)
