"""Quantities by hour, day or month, split as asked: what a caller's usage page shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from django.db import connection

from billing_project.kernel.errors import Invalid
from billing_project.kernel.period import hour_of
from metering.aggregation import MeterRule
from metering.models import Customer, Meter
from metering.reading_sql import IS_AGGREGATED, Params, Query, counts, total_of, value_of
from metering.selectors.meters import rule_of

WORKSPACE = "workspace"
MAX_ROWS = 10_000

_FROM_WINDOWS = """
SELECT w.workspace_id, w.dimensions AS labels, w.start_at AS "timestamp", w.quantity AS value
FROM usage_window w
WHERE w.customer_id = %(customer)s AND w.meter_id = %(meter)s AND w.event_count > 0
  AND w.start_at >= %(start)s AND w.start_at < %(end)s
"""
_FROM_EVENTS = """
SELECT e.workspace_id, e.properties AS labels, e."timestamp", e.identifier, {value} AS value
FROM used_meter_event e
WHERE e.customer_id = %(customer)s AND e."timestamp" >= %(start)s AND e."timestamp" < %(end)s
  AND {is_aggregated} AND {condition}
"""
_GROUPED = """
SELECT span, {total}::numeric AS quantity{names}
FROM (
    SELECT r.*, date_trunc(%(granularity)s, r."timestamp", 'UTC') AS span{columns}
    FROM ({source}) r LEFT JOIN workspace s ON s.id = r.workspace_id
) rows
GROUP BY span{names} ORDER BY span{names} LIMIT {limit}
"""


class Granularity(StrEnum):
    """Length of a row's span; days and months are UTC's."""

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
) -> list[UsageRow]:
    """Return what was used in [start, end), by span and labels, ascending.

    Sums, counts and largest values come from the windows; last and unique do not add up over
    hours or labels and are read from the events.

    Args:
        start, end: On whole UTC hours.
        group_by: Dimensions of the meter, and "workspace".

    Raises:
        Invalid: bounds inside an hour, an unknown label, or more than 10,000 rows.
    """
    rule = rule_of(meter)
    _check(rule, start, end, group_by)
    source, total = _source(rule)
    query = _grouped(source, total, group_by)
    params: Params = {"customer": customer.pk, "meter": meter.pk, "start": start, "end": end}
    with connection.cursor() as cursor:
        cursor.execute(query.text, {**query.params, **params, "granularity": granularity})
        rows = cursor.fetchall()
    if len(rows) > MAX_ROWS:
        raise Invalid(f"this asks for more than {MAX_ROWS} rows; take a shorter span")
    return [UsageRow(row[0], dict(zip(group_by, row[2:], strict=True)), row[1]) for row in rows]


def _check(rule: MeterRule, start: datetime, end: datetime, group_by: Sequence[str]) -> None:
    if end <= start or hour_of(start) != start or hour_of(end) != end:
        raise Invalid("start and end are whole UTC hours, and start comes first")
    if unknown := sorted(set(group_by) - {*rule.dimensions, WORKSPACE}):
        raise Invalid(f"meter {rule.code} has no dimension {', '.join(unknown)}")
    if len(set(group_by)) != len(group_by):
        raise Invalid("group_by names each label once")


def _source(rule: MeterRule) -> tuple[Query, str]:
    if rule.is_additive:
        return Query(_FROM_WINDOWS, {}), "sum(value)"
    if rule.aggregation == "max":
        return Query(_FROM_WINDOWS, {}), "max(value)"
    condition = counts(rule)
    text = _FROM_EVENTS.format(
        value=value_of(rule), is_aggregated=IS_AGGREGATED, condition=condition.text
    )
    return Query(text, condition.params), total_of(rule)


def _grouped(source: Query, total: str, group_by: Sequence[str]) -> Query:
    labels = [
        "s.external_id" if name == WORKSPACE else f"r.labels ->> %(label{i})s"
        for i, name in enumerate(group_by)
    ]
    columns = "".join(f", {label} AS label{i}" for i, label in enumerate(labels))
    names = "".join(f", label{i}" for i in range(len(labels)))
    text = _GROUPED.format(
        total=total, names=names, columns=columns, source=source.text, limit=MAX_ROWS + 1
    )
    params: Params = {f"label{i}": name for i, name in enumerate(group_by)}
    return Query(text, {**source.params, **params})
