"""Write the windows of time-weighted sums: levels that events set, hour by hour.

A window is a function of the events of its key alone: their levels over the whole hour, the last
one going on to the hour's end. Every writer first locks the keys' rows of `usage_level`, in one
order, and reads in a later statement, so that it sees what others committed. A late, cancelled or
amended event has every later window of its key written anew, up to where windows were written.
Hours without an event are carried by a task, up to the last whole hour.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from billing_project.kernel.period import HOUR, hour_of
from metering.aggregation import MeterRule
from metering.levels_sql import KEYS, rounded, select_readings, select_said, select_touched
from metering.models import UsageLevel
from metering.reading_sql import Params
from metering.selectors.meters import meter_rules
from metering.services.windows import Touched

_CARRIED_AT_ONCE = timedelta(days=31)

_LOCK = """
WITH used AS MATERIALIZED ({source}), touched AS MATERIALIZED ({touched}), locked AS (
    INSERT INTO usage_level (customer_id, meter_id, workspace_id, dimensions, dimensions_key,
                             level, settled_until)
    SELECT customer_id, meter_id, workspace_id, dimensions::jsonb, dimensions_key, 0, hours[1]
    FROM touched ORDER BY customer_id, meter_id, workspace_id, dimensions_key
    ON CONFLICT ON CONSTRAINT usage_level_once DO UPDATE SET level = usage_level.level
    RETURNING id, customer_id, meter_id, workspace_id, dimensions_key, level, settled_until
)
SELECT l.id, l.level, l.settled_until, t.hours
FROM locked l JOIN touched t
  ON t.customer_id = l.customer_id AND t.meter_id = l.meter_id
 AND t.workspace_id IS NOT DISTINCT FROM l.workspace_id AND t.dimensions_key = l.dimensions_key
"""
_SETTLE = """
WITH wanted AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(froms)s::timestamptz[], %(untils)s::timestamptz[])
        AS w(id, from_at, until_at)
), touched AS (
    SELECT * FROM unnest(%(hour_ids)s::bigint[], %(hours)s::timestamptz[]) AS t(id, start_at)
), {keys}, readings AS MATERIALIZED ({readings}), {said}, quantities AS (
    SELECT k.*, s.start_at, s.event_count, {quantity} AS quantity
    FROM said s JOIN keys k ON k.id = s.id
), going_on AS (
    UPDATE usage_level l
    SET settled_until = k.until_at,
        level = coalesce((SELECT s.value FROM segments s
                          WHERE s.id = k.id AND s.end_at = 'infinity'), 0)
    FROM keys k WHERE l.id = k.id
)
INSERT INTO usage_window (customer_id, meter_id, workspace_id, dimensions, dimensions_key, start_at,
                          quantity, event_count, revision, updated_at)
SELECT customer_id, meter_id, workspace_id, dimensions, dimensions_key, start_at, quantity,
       event_count, 1, %(at)s
FROM quantities q
WHERE quantity > 0 OR event_count > 0 OR EXISTS (
    SELECT FROM usage_window u
    WHERE u.customer_id = q.customer_id AND u.meter_id = q.meter_id
      AND u.workspace_id IS NOT DISTINCT FROM q.workspace_id
      AND u.dimensions_key = q.dimensions_key AND u.start_at = q.start_at)
ORDER BY customer_id, meter_id, workspace_id, dimensions_key, start_at
ON CONFLICT ON CONSTRAINT usage_window_once DO UPDATE
SET quantity = excluded.quantity, event_count = excluded.event_count,
    revision = usage_window.revision + 1, updated_at = excluded.updated_at
WHERE (usage_window.quantity, usage_window.event_count)
      IS DISTINCT FROM (excluded.quantity, excluded.event_count)
RETURNING id, customer_id, meter_id
"""


_UNTIL = """
UPDATE usage_level l SET settled_until = w.until
FROM unnest(%(ids)s::bigint[], %(untils)s::timestamptz[]) AS w(id, until) WHERE l.id = w.id
"""


@dataclass(frozen=True)
class Span:
    """The hours of one locked key that are to be written: [start, end)."""

    level_id: int
    start: datetime
    end: datetime
    touched: Sequence[datetime] = ()  # Hours in which events came or went.


# Its id, level, until when it is settled, and the touched hours in order.
_Locked = tuple[int, Decimal, datetime, list[datetime]]


def settle_levels(
    source: str, params: Params, rules: Iterable[MeterRule], at: datetime
) -> list[Touched]:
    """Write the windows of every key whose level an event of the source sets.

    Args:
        source: As for `add_to_windows`; a sign of 0 will do.

    Returns:
        The windows that changed.
    """
    levels = [rule for rule in rules if rule.is_level]
    if not levels:
        return []
    touched = select_touched(levels, "used")
    locked = _lock(source, touched.text, {**params, **touched.params})
    return _settle([_span(*row) for row in locked], at)


def lock_levels(touched: str, params: Params) -> list[Span]:
    """Lock keys whose windows somebody holds to be wrong, and say which hours are written anew.

    From the first of those hours on nothing that was written is believed: the level before is read
    from its event.

    Args:
        touched: A SELECT of keys with meter_id, customer_id, workspace_id, dimensions,
            dimensions_key and, in order, `hours`.
    """
    locked = _lock("SELECT", touched, params)
    spans = [
        Span(pk, hours[0], max(settled_until, hours[-1] + HOUR), hours)
        for pk, _, settled_until, hours in locked
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            _UNTIL, {"ids": [one.level_id for one in spans], "untils": [one.end for one in spans]}
        )
    return spans


def settle_locked(spans: Sequence[Span], at: datetime) -> list[Touched]:
    """Write the hours of keys that `lock_levels` locked in this transaction."""
    return _settle(spans, at)


def carry_levels(*, at: datetime, limit: int) -> tuple[int, list[Touched]]:
    """Write the windows of hours that passed without an event; run in a transaction.

    Args:
        limit: Keys at once; each is carried by at most a month.

    Returns:
        The keys that were carried (none: nothing waits, or others are at it), and the windows
        that changed: hours whose quantity rounds to nothing have none.
    """
    until = hour_of(at)
    waiting = UsageLevel.objects.filter(level__gt=0, settled_until__lt=until)
    locked = waiting.order_by("settled_until").select_for_update(skip_locked=True, no_key=True)
    spans = [
        Span(row.pk, row.settled_until, min(until, row.settled_until + _CARRIED_AT_ONCE))
        for row in locked[:limit]
    ]
    return len(spans), _settle(spans, at)


def _lock(source: str, touched: str, params: Params) -> list[_Locked]:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK.format(source=source, touched=touched), params)
        locked: list[_Locked] = cursor.fetchall()
    return locked


def _span(level_id: int, level: Decimal, settled_until: datetime, hours: list[datetime]) -> Span:
    """Begin at the first touched hour, or where idle hours wait; end where windows do."""
    start = min(hours[0], settled_until) if level else hours[0]
    return Span(level_id, start, max(settled_until, hours[-1] + HOUR), hours)


def _settle(spans: Sequence[Span], at: datetime) -> list[Touched]:
    """Write the hours; all versions are asked, as a level goes on into those of other events."""
    if not spans:
        return []
    rules = [rule for rule in meter_rules() if rule.is_level]
    readings = select_readings(rules)
    quantity = rounded(rules, "s.amount", "k.meter_id", "s.start_at")
    hours = [(span.level_id, hour) for span in spans for hour in span.touched]
    with connection.cursor() as cursor:
        cursor.execute(
            _SETTLE.format(
                keys=KEYS,
                readings=readings.text,
                said=select_said(),
                quantity=quantity.text,
            ),
            {
                **readings.params,
                **quantity.params,
                "ids": [span.level_id for span in spans],
                "froms": [span.start for span in spans],
                "untils": [span.end for span in spans],
                "hour_ids": [level_id for level_id, _ in hours],
                "hours": [hour for _, hour in hours],
                "at": at,
            },
        )
        return [Touched(*row) for row in cursor.fetchall()]
