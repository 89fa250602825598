"""What two readings of a meter make of the same events, as SQL text. Pure, as `reading_sql`."""

from collections.abc import Sequence

from metering.aggregation import MeterRule
from metering.levels_sql import select_hours
from metering.reading_sql import (
    IS_AGGREGATED,
    Params,
    Query,
    asks,
    counts,
    select_all_rows,
    total_of,
)

# Events of a span, at most %(most)s; each customer by the index on (customer, timestamp).
COUNTED = """
SELECT count(*) FROM (
    SELECT FROM customer c CROSS JOIN LATERAL (
        SELECT FROM meter_event e
        WHERE e.customer_id = c.id AND e."timestamp" >= %(start)s AND e."timestamp" < %(end)s
    ) e LIMIT %(most)s
) n
"""
_SOURCE = """
SELECT e.*, 1 AS sign FROM used_meter_event e
WHERE e."timestamp" >= %(start)s AND e."timestamp" < %(end)s
"""
# A level that holds when the span begins was set in the last hour before it with an event of its
# key; of the events before, only those of such hours are read.
_LEVEL_SOURCE = """
SELECT * FROM (
    {source} UNION ALL
    SELECT e.*, 1 FROM (
        SELECT DISTINCT l.customer_id, p.start_at
        FROM usage_level l CROSS JOIN LATERAL (
            SELECT u.start_at FROM usage_window u
            WHERE u.customer_id = l.customer_id AND u.meter_id = l.meter_id
              AND u.workspace_id IS NOT DISTINCT FROM l.workspace_id
              AND u.dimensions_key = l.dimensions_key
              AND u.event_count > 0 AND u.start_at < %(start)s
            ORDER BY u.start_at DESC LIMIT 1
        ) p WHERE l.meter_id = %(meter)s
    ) w JOIN used_meter_event e
      ON e.customer_id = w.customer_id
     AND e."timestamp" >= w.start_at AND e."timestamp" < w.start_at + interval '1 hour'
) e WHERE true
"""
# A key's quantity is that of the whole span, by its meter's own rule.
_QUANTITIES = """
WITH used AS NOT MATERIALIZED ({source} AND {is_aggregated})
SELECT customer_id, count(*), sum(quantity), sum(event_count)::bigint FROM (
    SELECT customer_id, workspace_id, dimensions, {total}::numeric AS quantity,
           count(*) AS event_count
    FROM ({rows}) r GROUP BY customer_id, workspace_id, r.dimensions
) k GROUP BY customer_id
"""
_OF_LEVELS = """
WITH {hours}
SELECT customer_id, count(DISTINCT (workspace_id, dimensions_key)), sum(quantity),
       sum(event_count)::bigint
FROM hours WHERE quantity > 0 OR event_count > 0 GROUP BY customer_id
"""
_MATCHES = """
SELECT count(*), count(*) FILTER (WHERE was AND is_now), count(*) FILTER (WHERE is_now AND NOT was),
       count(*) FILTER (WHERE was AND NOT is_now),
       count(*) FILTER (WHERE is_asked AND NOT is_now)
FROM (
    SELECT {was} AS was, {is_now} AS is_now, {asked} AS is_asked
    FROM ({source} AND {is_aggregated}) e WHERE e.event_name = ANY (%(event_names)s)
) m
"""


def select_quantities(rules: Sequence[MeterRule]) -> Query:
    """Read, by customer: keys, quantity and events of a span, by the versions of one meter.

    Left are `start` and `end`, and `meter` for levels, which go on from before the span and to its
    end.
    """
    if rules[0].is_level:
        source = _LEVEL_SOURCE.format(source=_SOURCE)
        first = "greatest(r.first_at, %(start)s::timestamptz)"
        hours = select_hours(rules, source, first=first, until="%(end)s::timestamptz")
        return Query(_OF_LEVELS.format(hours=hours.text), hours.params)
    rows = select_all_rows(rules, "used")
    text = _QUANTITIES.format(
        source=_SOURCE, is_aggregated=IS_AGGREGATED, total=total_of(rules[0]), rows=rows.text
    )
    return Query(text, rows.params)


def select_matches(before: Sequence[MeterRule], after: MeterRule) -> Query:
    """Count the events of all names that either reads, and what becomes of them.

    In this order: events; counted by both; only by the new reading; only by the old one; asked by
    the new one for a value that is not there.
    """
    params: Params = {}
    was = []
    for rule in before:
        condition = counts(rule)
        params.update(condition.params)
        was.append(f"({condition.text})")
    now, asked = counts(after), asks(after)
    params.update({**now.params, **asked.params})
    params["event_names"] = sorted({rule.event_name for rule in (*before, after)})
    text = _MATCHES.format(
        was=" OR ".join(was) or "false", is_now=f"({now.text})", asked=f"({asked.text})",
        source=_SOURCE, is_aggregated=IS_AGGREGATED,
    )  # fmt: skip
    return Query(text, params)
