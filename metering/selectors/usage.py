"""Quantities by hour, day or month, split as asked: what a caller's usage page shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from django.db import connection

from billing_project.kernel.errors import Invalid
from billing_project.kernel.period import hour_of
from metering.aggregation import LEVEL, MeterRule
from metering.models import Customer, Meter
from metering.reading_sql import IS_AGGREGATED, Param, Params, Query, counts, total_of, value_of
from metering.selectors.meters import rules_of

WORKSPACE = "workspace"
MAX_ROWS = 10_000

_FROM_WINDOWS = """
SELECT w.workspace_id, w.dimensions AS labels, w.start_at AS "timestamp", w.quantity AS value
FROM usage_window w
WHERE w.customer_id = %(customer)s AND w.meter_id = %(meter)s
  AND (w.event_count > 0 OR w.quantity > 0)
  AND w.start_at >= %(start)s AND w.start_at < %(end)s
"""
_FROM_EVENTS = """
SELECT e.workspace_id, e.properties AS labels, e."timestamp", e.identifier, {value} AS value
FROM used_meter_event e
WHERE e.customer_id = %(customer)s AND e."timestamp" >= %(start)s AND e."timestamp" < %(end)s
  AND {is_aggregated} AND {condition}
"""
_FROM_WINDOWS_OF = {
    "sum": "sum(value)",
    "count": "sum(value)",
    "max": "max(value)",
    "min": "min(value)",
    LEVEL: "sum(value)",
}
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

    Last and unique do not add up over hours or labels and are read from the events; the others
    come from the windows.

    Args:
        start, end: On whole UTC hours.
        group_by: Dimensions of the meter in any version, and "workspace".

    Raises:
        Invalid: bounds inside an hour, an unknown label, or more than 10,000 rows.
    """
    rules = rules_of(meter)
    _check(rules, start, end, group_by)
    source, total = _source(rules)
    query = _grouped(source, total, group_by)
    params: Params = {"customer": customer.pk, "meter": meter.pk, "start": start, "end": end}
    with connection.cursor() as cursor:
        cursor.execute(query.text, {**query.params, **params, "granularity": granularity})
        rows = cursor.fetchall()
    if len(rows) > MAX_ROWS:
        raise Invalid(f"this asks for more than {MAX_ROWS} rows; take a shorter span")
    return [UsageRow(row[0], dict(zip(group_by, row[2:], strict=True)), row[1]) for row in rows]


def _check(
    rules: Sequence[MeterRule], start: datetime, end: datetime, group_by: Sequence[str]
) -> None:
    if end <= start or hour_of(start) != start or hour_of(end) != end:
        raise Invalid("start and end are whole UTC hours, and start comes first")
    known = {name for rule in rules for name in rule.dimensions}
    if unknown := sorted(set(group_by) - {*known, WORKSPACE}):
        raise Invalid(f"meter {rules[0].code} has no dimension {', '.join(unknown)}")
    if len(set(group_by)) != len(group_by):
        raise Invalid("group_by names each label once")


def _source(rules: Sequence[MeterRule]) -> tuple[Query, str]:
    aggregation = rules[0].aggregation
    if aggregation in _FROM_WINDOWS_OF:
        return Query(_FROM_WINDOWS, {}), _FROM_WINDOWS_OF[aggregation]
    texts, params = [], dict[str, Param]()
    for rule in rules:
        condition = counts(rule)
        params.update(condition.params)
        texts.append(
            _FROM_EVENTS.format(
                value=value_of(rule), is_aggregated=IS_AGGREGATED, condition=condition.text
            )
        )
    return Query(" UNION ALL ".join(texts), params), total_of(rules[0])


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
