"""Which raw events and adjustments count in which usage windows, by the meters' own rules.

Events of archived months are read out of their files and asked about in the same words.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from django.db import connection

from billing_project.console.lineage.pairs import CLOCK_SLACK, Pair, Times
from metering.aggregation import MeterRule
from metering.archive_file import Wanted
from metering.archive_sql import ARCHIVED_EVENTS
from metering.models import MeterEventAdjustment, UsageWindow
from metering.reading_sql import Query, falls_into
from metering.selectors.archived_events import (
    Rows,
    archived_rows,
    archived_rows_of,
    as_parameter,
)
from metering.selectors.meters import meter_rules

# Every event as it was sent and as it was amended: an event keeps the windows that it was ever
# counted in, even cancelled, because it was taken back there.
_EVENTS = """(
    SELECT id AS fact_id, received_at AS learnt_at,
           id, customer_id, workspace_id, event_name, "timestamp", properties, batch_id
    FROM {events} e
    UNION ALL
    SELECT e.id, a.created_at, e.id, e.customer_id, e.workspace_id, e.event_name, e."timestamp",
           a.properties, e.batch_id
    FROM meter_event_adjustment a
    JOIN {events} e ON e.id = a.event_id AND e."timestamp" = a."timestamp"
    WHERE a.type = 'amend'
)"""
# Every adjustment with the properties that it put in place, and with those that it replaced.
_ADJUSTMENTS = """(
    SELECT a.id AS fact_id, a.created_at AS learnt_at, e.id, e.customer_id, e.workspace_id,
           e.event_name, e."timestamp", v.properties, e.batch_id
    FROM meter_event_adjustment a
    JOIN {events} e ON e.id = a.event_id AND e."timestamp" = a."timestamp"
    CROSS JOIN LATERAL (
        SELECT a.properties WHERE a.type = 'amend'
        UNION ALL
        SELECT coalesce((SELECT p.properties FROM meter_event_adjustment p
                         WHERE p.event_id = a.event_id AND p.id < a.id
                         ORDER BY p.id DESC LIMIT 1), e.properties)
    ) v
)"""
# Said from both sides, so that PostgreSQL can use the index of either table.
_IN_HOUR = (
    'e."timestamp" >= w.start_at AND e."timestamp" < w.start_at + interval \'1 hour\''
    " AND w.start_at > e.\"timestamp\" - interval '1 hour'"
)
# A window of a time-weighted sum comes of its own hour's events, and of those of the last hour
# before that has any: their level went on.
_OF_LEVELS = """(
    SELECT u.id, u.customer_id, u.meter_id, u.workspace_id, u.dimensions, h.start_at
    FROM usage_window u CROSS JOIN LATERAL (
        SELECT u.start_at
        UNION ALL
        (SELECT p.start_at FROM usage_window p
         WHERE p.customer_id = u.customer_id AND p.meter_id = u.meter_id
           AND p.workspace_id IS NOT DISTINCT FROM u.workspace_id
           AND p.dimensions_key = u.dimensions_key
           AND p.event_count > 0 AND p.start_at < u.start_at
         ORDER BY p.start_at DESC LIMIT 1)
    ) h(start_at)
)"""
_OF_FACTS = "e.fact_id = ANY(%(ids)s)"
# A window's facts, but for those learnt after the last thing that came of it.
_OF_WINDOWS = """w.id = ANY(%(ids)s) AND EXISTS (
    SELECT FROM unnest(%(ids)s::bigint[], %(times)s::timestamptz[]) AS until(id, at)
    WHERE until.id = w.id AND (until.at IS NULL OR e.learnt_at <= until.at + %(slack)s)
)"""


def windows_of_events(ids: Sequence[int], most: int, times: Times) -> list[Pair]:
    """List the windows that the events were counted in, labelled with the meter."""
    return _pairs(_EVENTS, _OF_FACTS, ids, most, times, archived_rows_of(ids))


def events_of_windows(ids: Sequence[int], most: int, times: Times) -> list[Pair]:
    """List all events that were counted in the windows, labelled with the meter."""
    return _pairs(_EVENTS, _OF_WINDOWS, ids, most, times, _archived_in(ids))


def windows_of_adjustments(ids: Sequence[int], most: int, times: Times) -> list[Pair]:
    """List the windows that the adjustments changed, labelled with the meter."""
    adjusted = MeterEventAdjustment.objects.filter(pk__in=ids)
    events = archived_rows_of(list(adjusted.values_list("event_id", flat=True)))
    return _pairs(_ADJUSTMENTS, _OF_FACTS, ids, most, times, events)


def adjustments_of_windows(ids: Sequence[int], most: int, times: Times) -> list[Pair]:
    """List all adjustments that changed the windows, labelled with the meter."""
    return _pairs(_ADJUSTMENTS, _OF_WINDOWS, ids, most, times, _archived_in(ids))


def _archived_in(ids: Sequence[int]) -> Iterable[Rows]:
    """Read the archived events of the windows' customers in the windows' hours."""
    windows = list(UsageWindow.objects.filter(pk__in=ids).values_list("customer_id", "start_at"))
    customers, hours = {customer for customer, _ in windows}, {hour for _, hour in windows}
    return archived_rows(Wanted(customers=customers, hours=hours))


def _pairs(
    facts: str, asked: str, ids: Sequence[int], most: int, times: Times, archived: Iterable[Rows]
) -> list[Pair]:
    """Ask of the table, then of the rows of each chunk from a file; the lowest ids are kept."""
    rules = meter_rules()
    if not rules:
        return []
    params: dict[str, Any] = {
        "ids": list(ids),
        "times": [times.get(pk) for pk in ids],
        "slack": CLOCK_SLACK,
        "most": most,
    }
    pairs = _ask(rules, facts.format(events="meter_event"), asked, params)
    for rows in archived:
        more = {**params, "archived": as_parameter(rows)}
        found = _ask(rules, facts.format(events=ARCHIVED_EVENTS), asked, more)
        pairs = sorted(chain(pairs, found))[:most]
    return pairs


def _ask(rules: Iterable[MeterRule], facts: str, asked: str, params: dict[str, Any]) -> list[Pair]:
    queries = [_of_meter(rule, facts, asked) for rule in rules]
    text = " UNION ALL ".join(f"({query.text})" for query in queries)
    named = {name: value for query in queries for name, value in query.params.items()}
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT * FROM ({text}) AS pairs ORDER BY 1, 2 LIMIT %(most)s",  # noqa: S608
            {**params, **named},
        )
        return [Pair(*row) for row in cursor.fetchall()]


def _of_meter(rule: MeterRule, facts: str, asked: str) -> Query:
    condition = falls_into(rule)
    name, windows = rule.key, _OF_LEVELS if rule.is_level else "usage_window"
    text = (
        f"SELECT e.fact_id, w.id, %({name}_code)s::text, min(e.learnt_at) FROM {windows} w"  # noqa: S608
        f" JOIN {facts} e ON {condition.text} AND {_IN_HOUR}"
        f" WHERE w.meter_id = %({name}_id)s AND {asked}"
        " GROUP BY 1, 2 ORDER BY 1, 2 LIMIT %(most)s"
    )
    return Query(text, {**condition.params, f"{name}_code": rule.code})
