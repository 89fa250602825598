"""What a backfill does to each event, as a temporary table that lives as long as its transaction.

One row for each event that stands in the range or was uploaded: what it says before (NULL: it does
not count) and after. The table is made by one statement, so that it is one state of the range; the
locks on the batches, taken before, keep adjustments and the aggregator away from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from metering.models import Backfill

Params = Mapping[str, int | list[str] | datetime]

_IN_RANGE = """
e.customer_id = %(customer)s AND e."timestamp" >= %(start)s AND e."timestamp" < %(end)s
AND (cardinality(%(names)s::text[]) = 0 OR e.event_name = ANY (%(names)s::text[]))
"""
_LOCK = f"""
SELECT id FROM event_batch
WHERE id IN (SELECT DISTINCT e.batch_id FROM meter_event e WHERE {_IN_RANGE})
   OR id IN (SELECT batch_id FROM backfill_batch WHERE backfill_id = %(backfill)s)
ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608
_APPLY = f"""
CREATE TEMPORARY TABLE backfill_plan ON COMMIT DROP AS
WITH standing AS (
    SELECT e.id, e.identifier, e.event_name, e.workspace_id, e."timestamp", e.batch_id,
           a.id AS adjustment_id, coalesce(a.generation, 0) AS generation,
           coalesce(a.type = 'cancel', false) AS is_cancelled,
           coalesce(a.properties, e.properties) AS properties
    FROM meter_event e
    LEFT JOIN LATERAL (
        SELECT id, type, properties, generation FROM meter_event_adjustment
        WHERE event_id = e.id ORDER BY id + 0 DESC LIMIT 1
    ) a ON true
    WHERE {_IN_RANGE}
), sent AS (
    SELECT * FROM backfill_event WHERE backfill_id = %(backfill)s
)
SELECT s.id AS event_id, coalesce(s.identifier, b.identifier) AS identifier,
       coalesce(s.event_name, b.event_name) AS event_name,
       CASE WHEN s.id IS NULL THEN b.workspace_id ELSE s.workspace_id END AS workspace_id,
       coalesce(s."timestamp", b."timestamp") AS "timestamp", s.batch_id,
       (s.id IS NULL OR t.aggregated_at IS NOT NULL) AS is_aggregated,
       s.adjustment_id, coalesce(s.generation, 0) AS generation,
       CASE WHEN b.id IS NULL AND s.is_cancelled THEN 'keep'
            WHEN b.id IS NULL THEN 'cancel'
            WHEN s.id IS NULL AND i.event_id IS NULL THEN 'add'
            WHEN s.id IS NULL THEN 'conflict'
            WHEN (b.event_name, b.workspace_id, b."timestamp")
                 IS DISTINCT FROM (s.event_name, s.workspace_id, s."timestamp") THEN 'conflict'
            WHEN s.is_cancelled THEN 'reinstate'
            WHEN s.properties = b.properties THEN 'keep'
            ELSE 'amend' END AS kind,
       CASE WHEN NOT s.is_cancelled THEN s.properties END AS before, b.properties AS after
FROM standing s
FULL JOIN sent b ON b.identifier = s.identifier
LEFT JOIN event_batch t ON t.id = s.batch_id
LEFT JOIN event_identity i
  ON s.id IS NULL AND i.customer_id = %(customer)s AND i.identifier = b.identifier
"""  # noqa: S608
_TOUCHED = """
CREATE TEMPORARY TABLE backfill_touched ON COMMIT DROP AS
SELECT a.event_id, a."timestamp", a.id AS adjustment_id FROM meter_event_adjustment a
WHERE a.backfill_id = %(backfill)s
UNION ALL
SELECT e.id, e."timestamp", NULL FROM backfill_batch b
JOIN event_batch t ON t.id = b.batch_id
CROSS JOIN LATERAL (
    SELECT id, "timestamp" FROM meter_event
    WHERE batch_id = t.id AND id BETWEEN t.first_event_id AND t.last_event_id
      AND "timestamp" BETWEEN t.first_timestamp AND t.last_timestamp OFFSET 0
) e
WHERE b.backfill_id = %(backfill)s
"""
# `id + 0` because statistics may not know the adjustments of a moment ago yet: PostgreSQL would
# walk their primary key backwards for every event, through all of them.
# Takes back what no later adjustment has touched; the rest is left as somebody decided since. Each
# event is looked up by its key: a plan for all at once is made from statistics that do not know the
# new rows yet, and can be a thousand times slower.
_REVERT = """
CREATE TEMPORARY TABLE backfill_plan ON COMMIT DROP AS
SELECT e.id AS event_id, e.identifier, e.event_name, e.workspace_id, e."timestamp", e.batch_id,
       e.is_aggregated, n.id AS adjustment_id, coalesce(n.generation, 0) AS generation,
       CASE WHEN n.id IS DISTINCT FROM c.adjustment_id THEN 'keep'
            WHEN n.type = 'cancel' THEN 'reinstate'
            WHEN n.type = 'amend' THEN 'amend'
            ELSE 'cancel' END AS kind,
       CASE WHEN n.type IS DISTINCT FROM 'cancel' THEN coalesce(n.properties, e.properties) END
           AS before,
       CASE WHEN n.type IN ('cancel', 'amend') THEN coalesce(p.properties, e.properties) END
           AS after
FROM backfill_touched c
CROSS JOIN LATERAL (
    SELECT m.*, (SELECT aggregated_at IS NOT NULL FROM event_batch WHERE id = m.batch_id)
           AS is_aggregated
    FROM meter_event m
    WHERE m.id = c.event_id AND m.customer_id = %(customer)s AND m."timestamp" = c."timestamp"
    OFFSET 0
) e
LEFT JOIN LATERAL (
    SELECT id, type, properties, generation FROM meter_event_adjustment
    WHERE event_id = e.id ORDER BY id + 0 DESC LIMIT 1
) n ON true
LEFT JOIN LATERAL (
    SELECT properties FROM meter_event_adjustment
    WHERE event_id = e.id AND id < n.id ORDER BY id + 0 DESC LIMIT 1
) p ON true
"""
# Identifiers hold no comma, kinds and ids no colon: two states never read the same.
_STATE = """
SELECT encode(sha256(convert_to(coalesce(string_agg(
    concat_ws(':', identifier, kind, event_id, coalesce(adjustment_id, 0)), ','
    ORDER BY identifier COLLATE "C"), ''), 'UTF8')), 'hex')
FROM backfill_plan
"""
_COUNTS = "SELECT kind, count(*) FROM backfill_plan GROUP BY kind"


@dataclass(frozen=True)
class Counts:
    """How many events a plan keeps, adds, amends, cancels, reinstates, and cannot place."""

    keep: int = 0
    add: int = 0
    amend: int = 0
    cancel: int = 0
    reinstate: int = 0
    conflict: int = 0

    @property
    def changed(self) -> int:
        """How many events would count otherwise than now."""
        return self.add + self.amend + self.cancel + self.reinstate


def lock_batches(backfill: Backfill) -> None:
    """Lock the batches of the range, in the order that adjustments and the aggregator take."""
    _run(_LOCK, backfill)


def plan_apply(backfill: Backfill) -> Counts:
    """Make the plan that lets the range be what was uploaded."""
    return _plan(_APPLY, backfill)


def plan_revert(backfill: Backfill) -> Counts:
    """Make the plan that takes an applied backfill back, as far as nobody decided since."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.backfill_touched")
        _run(_TOUCHED, backfill)
        cursor.execute("ANALYZE backfill_touched")
    return _plan(_REVERT, backfill)


def plan_sha256() -> str:
    """Return what names the planned state of the range: every event, its fate, its adjustment."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE)
        return str(cursor.fetchone()[0])


def conflicting_identifiers(limit: int = 5) -> list[str]:
    """Name events that are stored elsewhere: other time, workspace or name, or out of range."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT identifier FROM backfill_plan WHERE kind = 'conflict'"
            " ORDER BY identifier LIMIT %s",
            [limit],
        )
        return [name for (name,) in cursor.fetchall()]


def _plan(text: str, backfill: Backfill) -> Counts:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.backfill_plan")
    _run(text, backfill)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE backfill_plan")
        cursor.execute(_COUNTS)
        return Counts(**dict(cursor.fetchall()))


def _run(text: str, backfill: Backfill) -> None:
    params = {
        "customer": backfill.customer_id,
        "start": backfill.start_at,
        "end": backfill.end_at,
        "names": backfill.event_names,
        "backfill": backfill.pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(text, params)
