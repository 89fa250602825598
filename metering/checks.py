"""Checks of the books that this app answers for: nothing lost, nothing counted twice.

Each reads the raw facts again and compares; waiting batches are no finding.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from django.db import connection

from billing_project.kernel.books import Finding, check
from metering.aggregation import MeterRule
from metering.archive_file import sha256_of
from metering.archive_sql import SEALS, is_live
from metering.levels_sql import select_hours
from metering.models import ArchivedMonth
from metering.reading_sql import IS_AGGREGATED, Params, Query, select_all_rows, total_of
from metering.replay_sql import TOTALS
from metering.selectors.archive import archive_path
from metering.selectors.meters import meter_rules

_SHOWN = 100
_IS_LIVE = is_live("u.start_at")

_BATCHES = """
SELECT coalesce(b.id, e.batch_id), b.event_count, e.event_count
FROM (
    SELECT * FROM event_batch b WHERE NOT EXISTS (
        SELECT FROM archived_month x WHERE x.restored_at IS NULL
         AND b.first_timestamp >= x.start_at AND b.last_timestamp < x.end_at)
) b
FULL JOIN (
    SELECT batch_id, sum(event_count) AS event_count,
           min(first_event_id) AS first_id, max(last_event_id) AS last_id,
           min(first_timestamp) AS first_at, max(last_timestamp) AS last_at
    FROM (
        SELECT batch_id, count(*) AS event_count, min(id) AS first_event_id,
               max(id) AS last_event_id, min("timestamp") AS first_timestamp,
               max("timestamp") AS last_timestamp
        FROM meter_event GROUP BY batch_id
        UNION ALL
        SELECT p.* FROM archived_month x
        CROSS JOIN jsonb_to_recordset(x.manifest -> 'partial_batches') AS p(
            batch_id bigint, event_count bigint, first_event_id bigint, last_event_id bigint,
            first_timestamp timestamptz, last_timestamp timestamptz)
        WHERE x.restored_at IS NULL
    ) parts GROUP BY batch_id
) e ON e.batch_id = b.id
WHERE (b.event_count, b.first_event_id, b.last_event_id, b.first_timestamp, b.last_timestamp)
      IS DISTINCT FROM (e.event_count, e.first_id, e.last_id, e.first_at, e.last_at)
LIMIT %s
"""
_IDENTITIES = """
SELECT coalesce(i.customer_id, e.customer_id), coalesce(i.identifier, e.identifier), e.id IS NULL
FROM (SELECT * FROM event_identity i WHERE {is_live}) i
FULL JOIN meter_event e
  ON e.id = i.event_id AND e.customer_id = i.customer_id
 AND e.identifier = i.identifier AND e."timestamp" = i."timestamp"
WHERE i.event_id IS NULL OR e.id IS NULL
LIMIT %s
""".format(is_live=is_live('i."timestamp"'))  # noqa: S608 - a text of archive_sql
_ADJUSTMENTS = """
SELECT a.id, a.event_id FROM (
    SELECT a.*, lag(a.type) OVER (PARTITION BY a.event_id ORDER BY a.id) AS before
    FROM meter_event_adjustment a
) a
LEFT JOIN meter_event e
  ON e.id = a.event_id AND e.customer_id = a.customer_id
 AND e.identifier = a.identifier AND e."timestamp" = a."timestamp"
WHERE (e.id IS NULL AND {is_live})
   OR (a.type = 'reinstate') <> coalesce(a.before = 'cancel', false)
LIMIT %s
""".format(is_live=is_live('a."timestamp"'))  # noqa: S608 - as above
_WINDOWS = """
WITH used AS NOT MATERIALIZED (
    SELECT e.*, 1 AS sign FROM used_meter_event e WHERE {is_aggregated}
), said AS ({totals})
SELECT 'usage_window:' || w.id, w.quantity, s.quantity, w.event_count, s.event_count
FROM (SELECT * FROM usage_window u WHERE meter_id = %(meter)s AND {is_live}) w
FULL JOIN said s
  ON s.customer_id = w.customer_id AND s.start_at = w.start_at
 AND coalesce(s.workspace_id, 0) = coalesce(w.workspace_id, 0)
 AND s.dimensions_key = w.dimensions_key
WHERE coalesce(w.quantity, -1) <> coalesce(s.quantity, 0)
   OR coalesce(w.event_count, -1) <> coalesce(s.event_count, 0)
LIMIT %(limit)s
"""
_LEVELS = """
WITH {hours}, found AS (
    SELECT 'usage_window:' || w.id AS subject, w.quantity, s.quantity AS said, w.event_count,
           s.event_count AS said_count
    FROM (SELECT * FROM usage_window u WHERE meter_id = %(meter)s AND {is_live}) w
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
_MISPLACED = """
SELECT x.id, c.relname FROM archived_month x
JOIN pg_class c ON c.relname = 'meter_event_' || to_char(x.start_at AT TIME ZONE 'UTC', 'YYYY_MM')
WHERE x.restored_at IS NULL AND (c.relispartition OR x.dropped_at IS NOT NULL)
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


@check("Every archived month has the file that was verified")
def archived_files() -> Iterator[Finding]:
    """Read every file and compare its sha256."""
    for month in ArchivedMonth.objects.filter(restored_at__isnull=True):
        path = archive_path(month)
        if not path.exists():
            yield Finding(f"archived_month:{month.pk}", f"{path.name} is missing")
        elif sha256_of(path) != month.file_sha256:
            yield Finding(f"archived_month:{month.pk}", f"{path.name} is not what was verified")


@check("What stayed of archived months is what their events said")
def archived_seals() -> Iterator[Finding]:
    """Compare identities, batches, adjustments and windows with the manifest."""
    for month in ArchivedMonth.objects.filter(restored_at__isnull=True):
        for name, text in SEALS.items():
            with connection.cursor() as cursor:
                cursor.execute(text, {"start": month.start_at, "end": month.end_at})
                found = [str(part) for part in cursor.fetchone()]
            if found != month.manifest["seals"][name]:
                yield Finding(
                    f"archived_month:{month.pk}",
                    f"{name} of {month} changed since it was archived"
                    f" ({month.manifest['seals'][name][0]} then, {found[0]} now)",
                )


@check("Events of archived months are in their files alone")
def archived_partitions() -> Iterator[Finding]:
    """Look for tables that should have been taken out or dropped."""
    with connection.cursor() as cursor:
        cursor.execute(_MISPLACED)
        for month_id, table in cursor.fetchall():
            yield Finding(f"archived_month:{month_id}", f"table {table} still stands")


def _differing_windows(versions: Sequence[MeterRule]) -> Iterator[Finding]:
    rule = versions[0]
    query = _levels_anew(versions) if rule.is_level else _totals_anew(versions)
    found = _rows(query.text, {**query.params, "meter": rule.id, "limit": _SHOWN})
    for subject, quantity, said, count, said_count in found:
        yield Finding(
            str(subject or f"meter:{rule.id}"),
            f"{rule.code}: has {quantity or 0} of {count or 0} counted,"
            f" the events say {said or 0} of {said_count or 0}",
        )


def _totals_anew(versions: Sequence[MeterRule]) -> Query:
    rows = select_all_rows(versions, "used")
    totals = TOTALS.format(total=total_of(versions[0]), rows=rows.text)
    text = _WINDOWS.format(is_aggregated=IS_AGGREGATED, totals=totals, is_live=_IS_LIVE)
    return Query(text, rows.params)


def _levels_anew(versions: Sequence[MeterRule]) -> Query:
    """Write every hour anew up to where windows were written; later ones wait to be carried."""
    hours = select_hours(versions, "SELECT e.*, 1 AS sign FROM used_meter_event e WHERE true")
    return Query(_LEVELS.format(hours=hours.text, is_live=_IS_LIVE), hours.params)


def _rows(text: str, params: list[int] | Params) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(text, params)
        return list(cursor.fetchall())
