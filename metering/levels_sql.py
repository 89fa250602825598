"""Time-weighted sums as SQL text: levels that events set, and what they come to hour by hour.

Pure, like `reading_sql`, which says what an event is read as. A *key* is one combination of
customer, meter, workspace and dimensions; within it events are in the order of (timestamp,
identifier). Before the first one the level is 0.
"""

from collections.abc import Iterable, Sequence

from metering.aggregation import MeterRule
from metering.reading_sql import (
    IS_AGGREGATED,
    Param,
    Params,
    Query,
    counts,
    labels_of,
    select_all_rows,
    value_of,
)

# From `wanted` (id of usage_level, from_at, until_at) and `touched` (id, start_at: hours whose
# events came or went) to `keys`, their `spans`, and `read_hours`: those that hold their events,
# the last one before the span included. Nothing else of a busy customer's events is read. Where a
# span begins at the end of what was written, the level that goes on is known: `level_before`.
KEYS = """
keys AS MATERIALIZED (
    SELECT l.id, l.customer_id, l.meter_id, l.workspace_id, l.dimensions, l.dimensions_key,
           s.from_at, s.until_at, p.start_at AS before_at,
           CASE WHEN s.from_at >= l.settled_until THEN l.level END AS level_before
    FROM wanted s JOIN usage_level l ON l.id = s.id
    LEFT JOIN LATERAL (
        SELECT u.start_at FROM usage_window u
        WHERE u.customer_id = l.customer_id AND u.meter_id = l.meter_id
          AND u.workspace_id IS NOT DISTINCT FROM l.workspace_id
          AND u.dimensions_key = l.dimensions_key
          AND u.event_count > 0 AND u.start_at < s.from_at
        ORDER BY u.start_at DESC LIMIT 1
    ) p ON s.from_at < l.settled_until
), spans AS (
    SELECT id, from_at, until_at FROM keys
), read_hours AS (
    SELECT k.id, u.start_at FROM keys k JOIN usage_window u
      ON u.customer_id = k.customer_id AND u.meter_id = k.meter_id
     AND u.workspace_id IS NOT DISTINCT FROM k.workspace_id
     AND u.dimensions_key = k.dimensions_key AND u.event_count > 0
     AND u.start_at >= coalesce(k.before_at, k.from_at) AND u.start_at < k.until_at
    UNION
    SELECT id, start_at FROM touched
)
"""
# From `spans` and `readings` (id, timestamp, identifier, value) to `said`: every step of each span
# with its amount, in level times seconds, and its count of events. Each level is cut into the
# steps that it touches, so that the work grows with steps plus events, not with their product.
_SAID = """
segments AS MATERIALIZED (
    SELECT r.id, r."timestamp" AS start_at, r.value,
           lead(r."timestamp", 1, 'infinity') OVER (
               PARTITION BY r.id ORDER BY r."timestamp", r.identifier COLLATE "C") AS end_at
    FROM readings r WHERE r.value IS NOT NULL
), pieces AS (
    SELECT s.id, h.start_at, s.value, (s.start_at >= h.start_at)::integer AS is_event,
           extract(epoch FROM least(s.end_at, h.start_at + interval '{step}')
                              - greatest(s.start_at, h.start_at)) AS seconds
    FROM segments s JOIN spans p ON p.id = s.id
    CROSS JOIN LATERAL generate_series(
        date_bin('{step}', greatest(s.start_at, p.from_at), TIMESTAMPTZ '2000-01-01 00:00+00'),
        greatest(least(s.end_at, p.until_at) - interval '1 microsecond',
                 greatest(s.start_at, p.from_at)),
        interval '{step}') AS h(start_at)
    WHERE s.start_at < p.until_at AND (s.end_at > p.from_at OR s.start_at >= p.from_at)
), said AS (
    SELECT p.id, h.start_at, coalesce(sum(c.value * c.seconds), 0) AS amount,
           coalesce(sum(c.is_event), 0) AS event_count
    FROM spans p
    CROSS JOIN LATERAL generate_series(
        p.from_at, p.until_at - interval '{step}', interval '{step}') AS h(start_at)
    LEFT JOIN pieces c ON c.id = p.id AND c.start_at = h.start_at
    GROUP BY p.id, h.start_at
)
"""
_TOUCHED = """
SELECT meter_id, customer_id, workspace_id, dimensions,
       encode(sha256(convert_to(dimensions, 'UTF8')), 'hex') AS dimensions_key,
       array_agg(DISTINCT start_at) AS hours
FROM ({rows}) r GROUP BY meter_id, customer_id, workspace_id, dimensions
"""
# Each customer's hour is read once for all of its keys. OFFSET 0: one index range for each hour,
# whatever the planner thinks of whole partitions.
_READINGS = """
SELECT k.id, e."timestamp", e.identifier, e.value
FROM (SELECT DISTINCT k.customer_id, h.start_at FROM keys k JOIN read_hours h ON h.id = k.id
      WHERE k.meter_id = %({key}_id)s) w
CROSS JOIN LATERAL (
    SELECT e.customer_id, e.workspace_id, {labels} AS dimensions, e."timestamp", e.identifier,
           {value} AS value
    FROM used_meter_event e
    WHERE e.customer_id = w.customer_id
      AND e."timestamp" >= w.start_at AND e."timestamp" < w.start_at + interval '1 hour'
      AND {is_aggregated} AND {condition}
    OFFSET 0
) e
JOIN keys k
  ON k.meter_id = %({key}_id)s AND k.customer_id = e.customer_id AND k.dimensions = e.dimensions
 AND k.workspace_id IS NOT DISTINCT FROM e.workspace_id
"""
_GOING_ON = """
SELECT id, from_at - interval '1 microsecond', '', level_before FROM keys WHERE level_before > 0
"""
# Every hour of every key, written anew from the source's events up to where windows were written.
_HOURS = """
used AS NOT MATERIALIZED (
    {source} AND {is_aggregated}
), rows AS MATERIALIZED ({rows}), keys AS MATERIALIZED (
    SELECT row_number() OVER () AS id, %(meter)s::bigint AS meter_id, r.customer_id,
           r.workspace_id, r.dimensions, {first} AS first_at,
           l.id AS level_id, l.level,
           encode(sha256(convert_to(r.dimensions, 'UTF8')), 'hex') AS dimensions_key,
           {until} AS until_at
    FROM (SELECT customer_id, workspace_id, dimensions, min(start_at) AS first_at,
                 max(start_at) AS last_at
          FROM rows GROUP BY customer_id, workspace_id, dimensions) r
    LEFT JOIN usage_level l
      ON l.meter_id = %(meter)s AND l.customer_id = r.customer_id
     AND l.workspace_id IS NOT DISTINCT FROM r.workspace_id
     AND l.dimensions = r.dimensions::jsonb
), spans AS (
    SELECT id, first_at AS from_at, until_at FROM keys
), readings AS MATERIALIZED (
    SELECT k.id, r."timestamp", r.identifier, r.value FROM rows r JOIN keys k
      ON k.customer_id = r.customer_id AND k.dimensions = r.dimensions
     AND k.workspace_id IS NOT DISTINCT FROM r.workspace_id
), {said}, hours AS (
    SELECT k.customer_id, k.meter_id, k.workspace_id, k.dimensions_key, s.start_at, s.event_count,
           {quantity} AS quantity
    FROM said s JOIN keys k ON k.id = s.id
)
"""


def select_hours(
    versions: Sequence[MeterRule],
    source: str,
    *,
    first: str = "r.first_at",
    until: str = "greatest(l.settled_until, r.last_at + interval '1 hour')",
) -> Query:
    """Write a meter's hours anew, as common tables up to `hours`; its parameter `meter` is left.

    Args:
        source: A SELECT of events with its WHERE.
        first, until: Which hours of a key are written; as windows are, if not given.
    """
    rows = select_all_rows(versions, "used")
    quantity = rounded(versions, "s.amount", "k.meter_id", "s.start_at")
    text = _HOURS.format(
        source=source, is_aggregated=IS_AGGREGATED, rows=rows.text, said=select_said(), first=first,
        until=until, quantity=quantity.text,
    )  # fmt: skip
    return Query(text, {**rows.params, **quantity.params})


def select_touched(rules: Iterable[MeterRule], source: str) -> Query:
    """Read, for each key, the hours in which events of the source set its level."""
    rows = select_all_rows(rules, source)
    return Query(_TOUCHED.format(rows=rows.text), rows.params) if rows.text else rows


def select_said(step: str = "1 hour") -> str:
    """Return the texts from `readings` to `said`; spans begin and end on steps."""
    return _SAID.format(step=step)


def select_readings(rules: Iterable[MeterRule]) -> Query:
    """Read the levels that events set in `read_hours` (id, start_at) of `keys`."""
    texts, params = [], dict[str, Param]()
    for rule in rules:
        condition, labels = counts(rule), labels_of(rule)
        params.update({**condition.params, **labels.params})
        texts.append(
            _READINGS.format(
                key=rule.key,
                labels=labels.text,
                value=value_of(rule),
                condition=condition.text,
                is_aggregated=IS_AGGREGATED,
            )
        )
    return Query(" UNION ALL ".join([*texts, _GOING_ON]), params)


def rounded(rules: Sequence[MeterRule], amount: str, meter: str, hour: str) -> Query:
    """Return the quantity of an amount in level times seconds, as its version rounds.

    A level goes on while its meter is inactive, but hours without a version count nothing.

    Args:
        amount, meter, hour: Columns.
    """
    params: Params = {}
    cases = []
    for rule in rules:
        ends = f" AND {hour} < %({rule.key}_end)s" if rule.end_at else ""
        begins = f" AND {hour} >= %({rule.key}_start)s" if rule.start_at else ""
        cases.append(
            f"WHEN {meter} = %({rule.key}_id)s{begins}{ends}"
            f" THEN meter_round({amount}, 3600, %({rule.key}_decimals)s, %({rule.key}_mode)s)"
        )
        params[f"{rule.key}_id"] = rule.id
        params[f"{rule.key}_decimals"] = rule.rounding.decimals
        params[f"{rule.key}_mode"] = str(rule.rounding.mode)
        if rule.start_at:
            params[f"{rule.key}_start"] = rule.start_at
        if rule.end_at:
            params[f"{rule.key}_end"] = rule.end_at
    return Query(f"CASE {' '.join(cases)} ELSE 0 END", params)
