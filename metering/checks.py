"""Checks of the books that this app answers for: nothing lost, nothing counted twice.

Each reads the raw facts again and compares; waiting batches are no finding.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from django.db import connection

from billing_project.kernel.books import Finding, check
from metering.aggregation import MeterRule
from metering.levels_sql import rounded, select_said
from metering.reading_sql import IS_AGGREGATED, Params, Query, select_all_rows, total_of
from metering.selectors.meters import meter_rules

_SHOWN = 100

_BATCHES = """
SELECT coalesce(b.id, e.batch_id), b.event_count, e.event_count
FROM event_batch b
FULL JOIN (
    SELECT batch_id, count(*) AS event_count, min(id) AS first_id, max(id) AS last_id,
           min("timestamp") AS first_at, max("timestamp") AS last_at
    FROM meter_event GROUP BY batch_id
) e ON e.batch_id = b.id
WHERE (b.event_count, b.first_event_id, b.last_event_id, b.first_timestamp, b.last_timestamp)
      IS DISTINCT FROM (e.event_count, e.first_id, e.last_id, e.first_at, e.last_at)
LIMIT %s
"""
_IDENTITIES = """
SELECT coalesce(i.customer_id, e.customer_id), coalesce(i.identifier, e.identifier), e.id IS NULL
FROM event_identity i
FULL JOIN meter_event e
  ON e.id = i.event_id AND e.customer_id = i.customer_id
 AND e.identifier = i.identifier AND e."timestamp" = i."timestamp"
WHERE i.event_id IS NULL OR e.id IS NULL
LIMIT %s
"""
_ADJUSTMENTS = """
SELECT a.id, a.event_id FROM (
    SELECT a.*, lag(a.type) OVER (PARTITION BY a.event_id ORDER BY a.id) AS before
    FROM meter_event_adjustment a
) a
LEFT JOIN meter_event e
  ON e.id = a.event_id AND e.customer_id = a.customer_id
 AND e.identifier = a.identifier AND e."timestamp" = a."timestamp"
WHERE e.id IS NULL OR (a.type = 'reinstate') <> coalesce(a.before = 'cancel', false)
LIMIT %s
"""
_WINDOWS = """
WITH used AS NOT MATERIALIZED (
    SELECT e.*, 1 AS sign FROM used_meter_event e WHERE {is_aggregated}
), said AS ({totals})
SELECT 'usage_window:' || w.id, w.quantity, s.quantity, w.event_count, s.event_count
FROM (SELECT * FROM usage_window WHERE meter_id = %(meter)s) w
FULL JOIN said s
  ON s.customer_id = w.customer_id AND s.start_at = w.start_at
 AND coalesce(s.workspace_id, 0) = coalesce(w.workspace_id, 0)
 AND s.dimensions_key = w.dimensions_key
WHERE coalesce(w.quantity, -1) <> coalesce(s.quantity, 0)
   OR coalesce(w.event_count, -1) <> coalesce(s.event_count, 0)
LIMIT %(limit)s
"""
_LEVELS = """
WITH used AS NOT MATERIALIZED (
    SELECT e.*, 1 AS sign FROM used_meter_event e WHERE {is_aggregated}
), rows AS MATERIALIZED ({rows}), keys AS MATERIALIZED (
    SELECT row_number() OVER () AS id, %(meter)s::bigint AS meter_id, r.customer_id,
           r.workspace_id, r.dimensions, r.first_at,
           l.id AS level_id, l.level,
           encode(sha256(convert_to(r.dimensions, 'UTF8')), 'hex') AS dimensions_key,
           greatest(l.settled_until, r.last_at + interval '1 hour') AS until_at
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
), found AS (
    SELECT 'usage_window:' || w.id AS subject, w.quantity, s.quantity AS said, w.event_count,
           s.event_count AS said_count
    FROM (SELECT * FROM usage_window WHERE meter_id = %(meter)s) w
    FULL JOIN (SELECT * FROM hours WHERE quantity > 0 OR event_count > 0) s
      ON s.customer_id = w.customer_id AND s.start_at = w.start_at
     AND coalesce(s.workspace_id, 0) = coalesce(w.workspace_id, 0)
     AND s.dimensions_key = w.dimensions_key
    UNION ALL
    SELECT 'usage_level:' || k.level_id, k.level, coalesce(s.value, 0), 0, 0
    FROM keys k LEFT JOIN segments s ON s.id = k.id AND s.end_at = 'infinity'
    WHERE k.level IS DISTINCT FROM coalesce(s.value, 0)
)
SELECT subject, quantity, said, event_count, said_count FROM found
WHERE coalesce(quantity, -1) <> coalesce(said, 0)
   OR coalesce(event_count, -1) <> coalesce(said_count, 0)
LIMIT %(limit)s
"""
_TOTALS = """
SELECT meter_id, customer_id, workspace_id, start_at,
       encode(sha256(convert_to(dimensions, 'UTF8')), 'hex') AS dimensions_key,
       {total} AS quantity, count(*) AS event_count
FROM ({rows}) r GROUP BY meter_id, customer_id, workspace_id, start_at, dimensions
"""
_REPLAYED = """
SELECT q.id FROM quarantined_event q
LEFT JOIN customer_alias a ON a.external_id = q.customer_external_id
LEFT JOIN customer c ON c.external_id = q.customer_external_id
LEFT JOIN event_identity i
  ON i.customer_id = coalesce(c.id, a.customer_id) AND i.identifier = q.identifier
 AND i.content_sha256 = q.content_sha256
WHERE q.state = 'replayed' AND i.event_id IS NULL
LIMIT %s
"""
_VERSIONS = """
SELECT m.id, m.code FROM meter m
LEFT JOIN (SELECT meter_id, count(*) AS version_count, max(number) AS last_number
           FROM meter_version GROUP BY meter_id) v ON v.meter_id = m.id
WHERE coalesce(v.version_count, 0) = 0 OR v.version_count <> v.last_number
LIMIT %s
"""
_AMENDED = """
SELECT q.id FROM quarantined_event q
LEFT JOIN customer_alias a ON a.external_id = q.customer_external_id
LEFT JOIN customer c ON c.external_id = q.customer_external_id
WHERE q.state = 'amended' AND NOT EXISTS (
    SELECT FROM meter_event_adjustment m
    WHERE m.customer_id = coalesce(c.id, a.customer_id) AND m.identifier = q.identifier
      AND m.type = 'amend' AND m.properties = q.properties
)
LIMIT %s
"""
_UNGUARDED = """
SELECT p.inhrelid::regclass::text FROM pg_inherits p
WHERE p.inhparent = 'meter_event'::regclass
  AND (SELECT count(*) FROM pg_trigger t
       WHERE t.tgrelid = p.inhrelid AND t.tgname IN ('keep_rows', 'keep_table')
         AND t.tgenabled = 'A') <> 2
"""


@check("Every stored event belongs to the batch that counted it")
def events_of_batches() -> Iterator[Finding]:
    """Compare each batch's count and bounds with its events."""
    for batch_id, told, found in _rows(_BATCHES, [_SHOWN]):
        yield Finding(f"event_batch:{batch_id}", f"says {told} events, {found} are stored")


@check("Every stored event has its identity, and every identity its event")
def events_of_identities() -> Iterator[Finding]:
    """Compare claims with events, both ways."""
    for customer_id, identifier, is_lost in _rows(_IDENTITIES, [_SHOWN]):
        fault = "is claimed, but no event is stored" if is_lost else "is stored without its claim"
        yield Finding(f"customer:{customer_id}", f"event {identifier} {fault}")


@check("Every adjustment corrects a stored event, and only a reinstatement follows a cancellation")
def adjustments_of_events() -> Iterator[Finding]:
    """Look for adjustments that nothing can obey."""
    for adjustment_id, event_id in _rows(_ADJUSTMENTS, [_SHOWN]):
        yield Finding(
            f"meter_event_adjustment:{adjustment_id}",
            f"event {event_id} is not stored so, or was cancelled before",
        )


@check("Usage windows say what the events say")
def windows_of_events() -> Iterator[Finding]:
    """Aggregate every meter's events anew and compare each window with the result."""
    for _, versions in groupby(meter_rules(), key=lambda rule: rule.id):
        yield from _differing_windows(list(versions))


@check("Replayed events are stored")
def replayed_events() -> Iterator[Finding]:
    """Look for quarantined events that were closed as replayed without an event."""
    for (quarantined_id,) in _rows(_REPLAYED, [_SHOWN]):
        yield Finding(f"quarantined_event:{quarantined_id}", "was replayed, but is not stored")


@check("Every meter has its versions, from the first one on")
def versions_of_meters() -> Iterator[Finding]:
    """Look for meters that cannot read some event."""
    for meter_id, code in _rows(_VERSIONS, [_SHOWN]):
        yield Finding(f"meter:{meter_id}", f"{code} lacks a version")


@check("Conflicts that were decided for the later report amended the stored event")
def amended_conflicts() -> Iterator[Finding]:
    """Look for quarantined events that were closed as amended without an amendment."""
    for (quarantined_id,) in _rows(_AMENDED, [_SHOWN]):
        yield Finding(f"quarantined_event:{quarantined_id}", "was decided, but amended nothing")


@check("Every month of raw events is guarded")
def guarded_partitions() -> Iterator[Finding]:
    """Look for partitions whose triggers are missing or can be switched off."""
    for (name,) in _rows(_UNGUARDED, []):
        yield Finding(str(name), "lacks the guards that keep its rows")


def _differing_windows(versions: Sequence[MeterRule]) -> Iterator[Finding]:
    rule = versions[0]
    query = _levels_anew(versions) if rule.is_level else _totals_anew(versions)
    found = _rows(query.text, {**query.params, "meter": rule.id, "limit": _SHOWN})
    for subject, quantity, said, count, said_count in found:
        yield Finding(
            str(subject or f"meter:{rule.id}"),
            f"{rule.code}: has {quantity} from {count} events,"
            f" the events say {said or 0} from {said_count or 0}",
        )


def _totals_anew(versions: Sequence[MeterRule]) -> Query:
    rows = select_all_rows(versions, "used")
    totals = _TOTALS.format(total=total_of(versions[0]), rows=rows.text)
    return Query(_WINDOWS.format(is_aggregated=IS_AGGREGATED, totals=totals), rows.params)


def _levels_anew(versions: Sequence[MeterRule]) -> Query:
    """Write every hour anew up to where windows were written; later ones wait to be carried."""
    rows = select_all_rows(versions, "used")
    quantity = rounded(versions, "s.amount", "k.meter_id", "s.start_at")
    text = _LEVELS.format(
        is_aggregated=IS_AGGREGATED, rows=rows.text, said=select_said(), quantity=quantity.text
    )
    return Query(text, {**rows.params, **quantity.params})


def _rows(text: str, params: list[int] | Params) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(text, params)
        return list(cursor.fetchall())
