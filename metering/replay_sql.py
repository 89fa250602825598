"""Replay as SQL text: what the raw events of a span say, beside what the windows hold.

Pure: texts and parameters. Which event counts in which window is said by `reading_sql` alone; this
adds the span, the scratch table and the comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from metering.aggregation import MeterRule
from metering.levels_sql import select_hours
from metering.reading_sql import IS_AGGREGATED, Params, Query, select_all_rows, total_of

SCRATCH = """
CREATE TEMPORARY TABLE replayed_window (
    meter_id bigint, customer_id bigint, workspace_id bigint, start_at timestamptz,
    dimensions jsonb, dimensions_key text, quantity numeric, event_count bigint
) ON COMMIT DROP
"""
TOTALS = """
SELECT meter_id, customer_id, workspace_id, start_at, dimensions::jsonb AS dimensions,
       encode(sha256(convert_to(dimensions, 'UTF8')), 'hex') AS dimensions_key,
       {total} AS quantity, count(*) AS event_count
FROM ({rows}) r GROUP BY meter_id, customer_id, workspace_id, start_at, r.dimensions
"""
_SOURCE = """
SELECT e.*, 1 AS sign FROM used_meter_event e
WHERE e."timestamp" < %(end)s AND e.customer_id = ANY (%(customers)s)
"""
_REPLAY = """
WITH used AS NOT MATERIALIZED (
    {source} AND e."timestamp" >= %(start)s AND {is_aggregated}
)
INSERT INTO replayed_window {totals}
"""
# A level comes from any time before: all events up to the end of the span are read.
_REPLAY_LEVELS = """
WITH {hours}
INSERT INTO replayed_window
SELECT h.meter_id, h.customer_id, h.workspace_id, h.start_at, k.dimensions::jsonb,
       h.dimensions_key, h.quantity, h.event_count
FROM hours h JOIN keys k
  ON k.customer_id = h.customer_id AND k.dimensions_key = h.dimensions_key
 AND k.workspace_id IS NOT DISTINCT FROM h.workspace_id
WHERE h.start_at >= %(start)s AND h.start_at < %(end)s
  AND (h.quantity > 0 OR h.event_count > 0)
"""
DIFFERENCES = """
SELECT coalesce(w.meter_id, s.meter_id), coalesce(w.customer_id, s.customer_id),
       coalesce(w.workspace_id, s.workspace_id), coalesce(w.start_at, s.start_at),
       coalesce(w.dimensions, s.dimensions), coalesce(w.dimensions_key, s.dimensions_key),
       w.quantity, w.event_count, coalesce(s.quantity, 0), coalesce(s.event_count, 0)
FROM (SELECT * FROM usage_window
      WHERE start_at >= %(start)s AND start_at < %(end)s AND customer_id = ANY (%(customers)s)
        AND meter_id = ANY (%(meters)s)) w
FULL JOIN replayed_window s
  ON s.meter_id = w.meter_id AND s.customer_id = w.customer_id AND s.start_at = w.start_at
 AND coalesce(s.workspace_id, 0) = coalesce(w.workspace_id, 0)
 AND s.dimensions_key = w.dimensions_key
WHERE coalesce(w.quantity, -1) <> coalesce(s.quantity, 0)
   OR coalesce(w.event_count, -1) <> coalesce(s.event_count, 0)
ORDER BY 2, 1, 4, 3 NULLS FIRST, 6
"""


@dataclass(frozen=True)
class Span:
    """Windows that start in [start, end), of some customers."""

    start: datetime  # On a whole UTC hour, as `end`.
    end: datetime
    customer_ids: tuple[int, ...]

    @property
    def params(self) -> Params:
        """The span as parameters of the texts."""
        return {"start": self.start, "end": self.end, "customers": list(self.customer_ids)}


def replay(versions: Sequence[MeterRule], span: Span) -> Query:
    """Return the statement that reads a meter's windows anew into the scratch table.

    Args:
        versions: All rules of one meter.
    """
    if versions[0].is_level:
        hours = select_hours(versions, _SOURCE)
        text = _REPLAY_LEVELS.format(hours=hours.text)
        return Query(text, {**hours.params, **span.params, "meter": versions[0].id})
    rows = select_all_rows(versions, "used")
    totals = TOTALS.format(total=total_of(versions[0]), rows=rows.text)
    text = _REPLAY.format(source=_SOURCE, is_aggregated=IS_AGGREGATED, totals=totals)
    return Query(text, {**rows.params, **span.params})


def differences(rules: Sequence[MeterRule], span: Span) -> Query:
    """Return the statement that compares the stored windows with the scratch table."""
    return Query(DIFFERENCES, {**span.params, "meters": sorted({rule.id for rule in rules})})
