"""Which raw events count in which usage windows, by the meters' own rules."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from metering.aggregation import MeterRule
from metering.reading_sql import Query, falls_into
from metering.selectors.meters import meter_rules

Pair = tuple[int, int, str]
# Every event as it was sent and as it was amended: an event keeps the windows that it was ever
# counted in, even cancelled, because it was taken back there.
_VERSIONS = """(
    SELECT id, customer_id, workspace_id, event_name, "timestamp", properties, batch_id
    FROM meter_event
    UNION ALL
    SELECT e.id, e.customer_id, e.workspace_id, e.event_name, e."timestamp", a.properties,
           e.batch_id
    FROM meter_event_adjustment a
    JOIN meter_event e ON e.id = a.event_id AND e."timestamp" = a."timestamp"
    WHERE a.type = 'amend'
)"""
# Said from both sides, so that PostgreSQL can use the index of either table.
_IN_HOUR = (
    'e."timestamp" >= w.start_at AND e."timestamp" < w.start_at + interval \'1 hour\''
    " AND w.start_at > e.\"timestamp\" - interval '1 hour'"
)


def windows_of_events(ids: Sequence[int], most: int) -> list[Pair]:
    """List (event, window, meter code) of the windows that the events were counted in."""
    return _pairs("e.id", ids, most)


def events_of_windows(ids: Sequence[int], most: int) -> list[Pair]:
    """List (event, window, meter code) of all events that were counted in the windows."""
    return _pairs("w.id", ids, most)


def _pairs(column: str, ids: Sequence[int], most: int) -> list[Pair]:
    queries = [_of_meter(rule, column) for rule in meter_rules()]
    if not queries:
        return []
    text = " UNION ALL ".join(f"({query.text})" for query in queries)
    params: dict[str, Any] = {"ids": list(ids), "most": most}
    for query in queries:
        params.update(query.params)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({text}) AS pairs ORDER BY 1, 2 LIMIT %(most)s", params)  # noqa: S608
        return [(event, window, code) for event, window, code in cursor.fetchall()]


def _of_meter(rule: MeterRule, column: str) -> Query:
    condition = falls_into(rule)
    name = f"m{rule.id}"
    text = (
        f"SELECT DISTINCT e.id, w.id, %({name}_code)s::text FROM usage_window w"  # noqa: S608
        f" JOIN {_VERSIONS} e"
        f" ON {condition.text} AND {_IN_HOUR}"
        f" WHERE w.meter_id = %({name}_id)s AND {column} = ANY(%(ids)s)"
        " ORDER BY 1, 2 LIMIT %(most)s"
    )
    return Query(text, {**condition.params, f"{name}_code": rule.code})
