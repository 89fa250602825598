"""Which raw events and adjustments count in which usage windows, by the meters' own rules.

Events of archived months are read out of their files and asked about in the same words.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Any

from django.db import connection

from billing_project.console.lineage.earliest import Windows, first_events, windows_named
from billing_project.console.lineage.pairs import CLOCK_SLACK, Pair, Times, few_of
from metering.aggregation import MeterRule
from metering.archive_file import Wanted
from metering.archive_sql import ARCHIVED_EVENTS
from metering.models import MeterEventAdjustment
from metering.reading_sql import Query, falls_into
from metering.selectors.archived_events import (
    Rows,
    archived_rows,
    archived_rows_of,
    as_parameter,
)
from metering.selectors.meters import meter_rules

_Params = dict[str, Any]
# Every event that was amended, as it was amended.
_AMENDED = """(
    SELECT e.id AS fact_id, a.created_at AS learnt_at, e.id, e.customer_id, e.workspace_id,
           e.event_name, e."timestamp", a.properties, e.batch_id
    FROM meter_event_adjustment a
    JOIN {events} e ON e.id = a.event_id AND e."timestamp" = a."timestamp"
    WHERE a.type = 'amend'
)"""
# Every event as it was sent and as it was amended: an event keeps the windows that it was ever
# counted in, even cancelled, because it was taken back there.
_EVENTS = (
    """(
    SELECT id AS fact_id, received_at AS learnt_at,
           id, customer_id, workspace_id, event_name, "timestamp", properties, batch_id
    FROM {events} e
    UNION ALL
    SELECT * FROM """  # noqa: S608 - constants
    + f"{_AMENDED} amended)"
)
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
_OF_CHOSEN = "e.fact_id = ANY(%(chosen)s) AND "
# A window's facts, but for those learnt after the last thing that came of it.
_OF_WINDOWS = """w.id = ANY(%(ids)s) AND EXISTS (
    SELECT FROM unnest(%(ids)s::bigint[], %(times)s::timestamptz[]) AS until(id, at)
    WHERE until.id = w.id AND (until.at IS NULL OR e.learnt_at <= until.at + %(slack)s)
)"""


def windows_of_events(ids: Sequence[int], most: int, times: Times) -> list[Pair]:
    """List the windows that the events were counted in, labelled with the meter."""
    return _pairs(_EVENTS, _OF_FACTS, ids, most, times, archived_rows_of(ids))


def events_of_windows(ids: Sequence[int], most: int, times: Times) -> list[Pair]:
    """List events that were counted in the windows, labelled with the meter.

    All of them, or where there are more than a reader is shown: the earliest of the first windows,
    with every window of each.
    """
    windows, rules = windows_named(ids), meter_rules()
    asked = [rule for rule in rules if rule.id in windows.counted]
    params = _params(ids, most, times)
    found, is_cut = first_events(
        [rule for rule in asked if not rule.is_level], windows, few_of(most), times
    )
    levels = [rule for rule in asked if rule.is_level]
    found += _ask(levels, _EVENTS.format(events="meter_event"), _OF_WINDOWS, params)
    if windows.is_adjusted:
        found += _ask(asked, _AMENDED.format(events="meter_event"), _OF_WINDOWS, params)
    if is_cut:
        chosen = sorted({pair.source for pair in found})[: few_of(most)]
        if not levels:  # Whatever else an event counts in is of its own hour.
            shown = set(chosen)
            near = windows.beside(pair.target for pair in found if pair.source in shown)
            params = _params(near, most, times)
        facts = _EVENTS.format(events="meter_event")
        found = _ask(asked, facts, _OF_CHOSEN + _OF_WINDOWS, {**params, "chosen": chosen})
    asked_of = _params(ids, most, times)
    return _with_archived(_earliest(found), _EVENTS, _OF_WINDOWS, asked_of, _archived_in(windows))


def _earliest(pairs: Iterable[Pair]) -> list[Pair]:
    """Keep of each event and window the pair that was learnt first, by ids."""
    first: dict[tuple[int, int], Pair] = {}
    for pair in pairs:
        known = first.setdefault(pair[:2], pair)
        if pair.at is not None and known.at is not None and pair.at < known.at:
            first[pair[:2]] = pair
    return sorted(first.values())


def windows_of_adjustments(ids: Sequence[int], most: int, times: Times) -> list[Pair]:
    """List the windows that the adjustments changed, labelled with the meter."""
    adjusted = MeterEventAdjustment.objects.filter(pk__in=ids)
    events = archived_rows_of(list(adjusted.values_list("event_id", flat=True)))
    return _pairs(_ADJUSTMENTS, _OF_FACTS, ids, most, times, events)


def adjustments_of_windows(ids: Sequence[int], most: int, times: Times) -> list[Pair]:
    """List all adjustments that changed the windows, labelled with the meter."""
    windows = windows_named(ids)
    if not windows.is_adjusted:
        return []
    return _pairs(_ADJUSTMENTS, _OF_WINDOWS, ids, most, times, _archived_in(windows))


def _archived_in(windows: Windows) -> Iterable[Rows]:
    """Read the archived events of the windows' customers in the windows' hours."""
    return archived_rows(Wanted(customers=windows.customers, hours=windows.hours))


def _pairs(
    facts: str, asked: str, ids: Sequence[int], most: int, times: Times, archived: Iterable[Rows]
) -> list[Pair]:
    """Ask of the table, then of the rows of each chunk from a file; the lowest ids are kept."""
    params = _params(ids, most, times)
    pairs = _ask(meter_rules(), facts.format(events="meter_event"), asked, params)
    return _with_archived(pairs, facts, asked, params, archived)


def _with_archived(
    pairs: list[Pair], facts: str, asked: str, params: _Params, archived: Iterable[Rows]
) -> list[Pair]:
    for rows in archived:
        more = {**params, "archived": as_parameter(rows)}
        found = _ask(meter_rules(), facts.format(events=ARCHIVED_EVENTS), asked, more)
        pairs = sorted(chain(pairs, found))[: params["most"]]
    return pairs


def _params(ids: Sequence[int], most: int, times: Times) -> _Params:
    return {
        "ids": list(ids),
        "times": [times.get(pk) for pk in ids],
        "slack": CLOCK_SLACK,
        "most": most,
    }


def _ask(rules: Collection[MeterRule], facts: str, asked: str, params: _Params) -> list[Pair]:
    if not rules:
        return []
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
