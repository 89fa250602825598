"""Quantities by hour, day or month, split as asked: what a caller's usage page shows.

Days and months are those of a time zone; hours are UTC's, as the windows are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from zoneinfo import ZoneInfo

from django.db import connection

from billing_project.kernel.errors import Invalid
from billing_project.kernel.period import DAY, hour_of, midnight, months_between
from metering.aggregation import LEVEL, MeterRule
from metering.levels_sql import KEYS, select_readings, select_said
from metering.models import Customer, Meter
from metering.reading_sql import (
    IS_AGGREGATED,
    Param,
    Params,
    Query,
    counts,
    governs,
    labels_of,
    total_of,
    value_of,
)
from metering.selectors.archive import refuse_archived
from metering.selectors.meters import rules_of

WORKSPACE = "workspace"
MAX_ROWS = 10_000
_QUARTER = timedelta(minutes=15)  # Every zone's hours begin on one.

_FROM_WINDOWS = """
SELECT w.workspace_id, w.dimensions AS labels, w.start_at AS "timestamp", w.quantity AS value
FROM usage_window w
WHERE w.customer_id = %(customer)s AND w.meter_id = %(meter)s
  AND (w.event_count > 0 OR w.quantity > 0)
  AND w.start_at >= %(start)s AND w.start_at < %(end)s
"""
_FROM_EVENTS = """
SELECT e.workspace_id, {labels} AS labels, e."timestamp", e.identifier, {value} AS value
FROM used_meter_event e
WHERE e.customer_id = %(customer)s AND e."timestamp" >= %(start)s AND e."timestamp" < %(end)s
  AND {is_aggregated} AND {condition}
"""
_FROM_LEVELS = """
WITH wanted AS (
    SELECT id, %(start)s::timestamptz AS from_at,
           least(%(end)s::timestamptz, settled_until) AS until_at
    FROM usage_level
    WHERE customer_id = %(customer)s AND meter_id = %(meter)s
      AND settled_until > %(start)s::timestamptz
), touched AS (SELECT NULL::bigint AS id, NULL::timestamptz AS start_at WHERE false), {keys},
readings AS MATERIALIZED ({readings}), {said}
SELECT k.workspace_id, k.dimensions AS labels, s.start_at AS "timestamp", s.amount / 3600 AS value
FROM said s JOIN keys k ON k.id = s.id WHERE s.amount > 0 AND ({governed})
"""
_OVER_HOURS = {
    "sum": "sum(value)",
    "count": "sum(value)",
    "max": "max(value)",
    "min": "min(value)",
    LEVEL: "round(sum(value), 12)",
}
_GROUPED = """
SELECT span, {total}::numeric AS quantity{names}
FROM (
    SELECT r.*, {span} AS span{columns}
    FROM ({source}) r LEFT JOIN workspace s ON s.id = r.workspace_id
) rows
GROUP BY span{names} ORDER BY span{names} LIMIT {limit}
"""
_HOUR = "date_trunc('hour', r.\"timestamp\", 'UTC')"
_BETWEEN_BOUNDS = (
    '(%(bounds)s::timestamptz[])[width_bucket(r."timestamp", %(bounds)s::timestamptz[])]'
)


class Granularity(StrEnum):
    """Length of a row's span; days and months are those of a time zone."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True)
class UsageRow:
    """The quantity of one span and one combination of labels."""

    start_at: datetime
    group: dict[str, str | None]
    quantity: Decimal


def usage(
    customer: Customer,
    meter: Meter,
    start: datetime,
    end: datetime,
    granularity: Granularity = Granularity.DAY,
    group_by: Sequence[str] = (),
    time_zone: str | None = None,
) -> list[UsageRow]:
    """Return what was used in [start, end), by span and labels, ascending.

    Last and unique do not add up over hours or labels and are read from the events; the others
    come from the windows. Where a day of the zone begins inside a UTC hour (Kolkata, Kathmandu),
    a window would be cut in two, and everything is read from the events, so that days are exact.

    Args:
        start, end: On whole hours, of UTC or of the zone.
        group_by: Dimensions of the meter in any version, and "workspace".
        time_zone: Whose days and months; the customer's own if None. A day has 23, 24 or 25
            hours there.

    Raises:
        Invalid: bounds inside an hour, an unknown label, or more than 10,000 rows.
        MonthArchived: this has to read events, and some of them are archived.
    """
    zone = time_zone or customer.time_zone
    rules = rules_of(meter)
    _check(rules, start, end, group_by)
    bounds = _bounds(start, end, granularity, zone)
    is_cut = any(hour_of(at) != at for at in (start, end, *bounds[1:]))
    if is_cut or rules[0].aggregation not in _OVER_HOURS:
        refuse_archived(start, end)
    source, total = _source(rules, is_cut=is_cut)
    query = _grouped(source, total, group_by, _BETWEEN_BOUNDS if bounds else _HOUR)
    params: Params = {"customer": customer.pk, "meter": meter.pk, "start": start, "end": end}
    with connection.cursor() as cursor:
        cursor.execute(query.text, {**query.params, **params, "bounds": bounds})
        rows = cursor.fetchall()
    if len(rows) > MAX_ROWS:
        raise _too_long()
    return [UsageRow(row[0], dict(zip(group_by, row[2:], strict=True)), row[1]) for row in rows]


def _check(
    rules: Sequence[MeterRule], start: datetime, end: datetime, group_by: Sequence[str]
) -> None:
    known = {name for rule in rules for name in rule.dimensions}
    if unknown := sorted(set(group_by) - {*known, WORKSPACE}):
        raise Invalid(f"meter {rules[0].code} has no dimension {', '.join(unknown)}")
    if len(set(group_by)) != len(group_by):
        raise Invalid("group_by names each label once")
    if end <= start:
        raise Invalid("start comes before end")
    if (end - start) // DAY > MAX_ROWS:
        raise _too_long()


def _bounds(start: datetime, end: datetime, granularity: Granularity, zone: str) -> list[datetime]:
    """Return the instants at which the zone's days or months begin; none for hours.

    The first one is at or before the start.
    """
    of_hours = granularity == Granularity.HOUR
    if not all(_is_whole_hour(at, "UTC" if of_hours else zone) for at in (start, end)):
        zones = "UTC" if of_hours else f"UTC or {zone}"
        raise Invalid(f"start and end are on whole hours ({zones})")
    if of_hours:
        return []
    first = start.astimezone(ZoneInfo(zone)).date()
    last = (end - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date()
    if granularity == Granularity.MONTH:
        days = [month for month, _ in months_between(first, last)]
    else:
        days = [first + timedelta(days=count) for count in range((last - first).days + 1)]
    instants = [midnight(day, zone) for day in days]
    # A zone that skipped a day (Apia, 2011) begins two dates at one instant.
    return [at for at, following in pairwise([*instants, end]) if at < following]


def _is_whole_hour(at: datetime, zone: str) -> bool:
    local = at.astimezone(ZoneInfo(zone))
    is_quarter = (at - hour_of(at)) % _QUARTER == timedelta(0)
    return hour_of(at) == at or (is_quarter and local.minute == 0)


def _too_long() -> Invalid:
    return Invalid(f"this asks for more than {MAX_ROWS} rows; take a shorter span")


def _source(rules: Sequence[MeterRule], *, is_cut: bool) -> tuple[Query, str]:
    """Return what to read, with what to add up.

    Args:
        is_cut: Spans begin or end inside windows.
    """
    aggregation = rules[0].aggregation
    if aggregation in _OVER_HOURS and not is_cut:
        return Query(_FROM_WINDOWS, {}), _OVER_HOURS[aggregation]
    if aggregation == LEVEL:
        return _levels(rules), _OVER_HOURS[aggregation]
    texts, params = [], dict[str, Param]()
    for rule in rules:
        condition, labels = counts(rule), labels_of(rule)
        params.update({**condition.params, **labels.params})
        texts.append(
            _FROM_EVENTS.format(
                labels=labels.text,
                value=value_of(rule),
                is_aggregated=IS_AGGREGATED,
                condition=condition.text,
            )
        )
    return Query(" UNION ALL ".join(texts), params), total_of(rules[0])


def _levels(rules: Sequence[MeterRule]) -> Query:
    """Read levels by quarters of an hour, unrounded, up to where windows were written."""
    readings = select_readings(rules)
    text = _FROM_LEVELS.format(
        keys=KEYS,
        readings=readings.text,
        said=select_said("15 minutes"),
        governed=" OR ".join(f"({governs(rule, 's.start_at').text})" for rule in rules),
    )
    return Query(text, readings.params)


def _grouped(source: Query, total: str, group_by: Sequence[str], span: str) -> Query:
    labels = [
        "s.external_id" if name == WORKSPACE else f"r.labels ->> %(label{i})s"
        for i, name in enumerate(group_by)
    ]
    columns = "".join(f", {label} AS label{i}" for i, label in enumerate(labels))
    names = "".join(f", label{i}" for i in range(len(labels)))
    text = _GROUPED.format(
        total=total, names=names, columns=columns, source=source.text, span=span,
        limit=MAX_ROWS + 1,
    )  # fmt: skip
    params: Params = {f"label{i}": name for i, name in enumerate(group_by)}
    return Query(text, {**source.params, **params})
