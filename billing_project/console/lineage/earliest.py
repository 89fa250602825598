"""Find some of the events behind usage windows without reading all: an hour may hold a million.

The first events of the first windows are read along the index of customer and time, until a reader
has one more than is shown. Meters of levels are left to `events`: their hours lead to others.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from billing_project.console.lineage.pairs import CLOCK_SLACK, Pair, Times
from metering.aggregation import MeterRule
from metering.models import MeterEventAdjustment, UsageWindow
from metering.reading_sql import Query, falls_into

_HOUR = timedelta(hours=1)
_RAW_OF_ONE = 4  # Events read along the index for each one asked for, before all are read.
_FIRST = """
SELECT f.fact_id, w.id, %({name}_code)s::text, f.learnt_at
  FROM usage_window w CROSS JOIN LATERAL (
    SELECT e.id AS fact_id, e.received_at AS learnt_at, e."timestamp"
      FROM (SELECT r.* FROM meter_event r
             WHERE r.customer_id = w.customer_id AND r."timestamp" >= w.start_at
               AND r."timestamp" < w.start_at + interval '1 hour'
             ORDER BY r."timestamp", r.id LIMIT %(raw)s) e
     WHERE {condition} AND EXISTS (
       SELECT FROM unnest(%(ids)s::bigint[], %(times)s::timestamptz[]) AS until(id, at)
        WHERE until.id = w.id AND (until.at IS NULL OR e.received_at <= until.at + %(slack)s))
     LIMIT %(few)s) f
 WHERE w.meter_id = %({name}_id)s AND w.id = ANY(%(ids)s)
 ORDER BY w.id, f."timestamp", f.fact_id LIMIT %(few)s
"""


@dataclass(frozen=True)
class Windows:
    """Usage windows: whose they are, when, and how much their meters count in them."""

    ids: Sequence[int]
    customers: set[int]
    hour_of: Mapping[int, datetime]
    counted: Mapping[int, int]  # By meter: events that count.
    is_adjusted: bool  # Something was amended or cancelled in one of their hours.

    @property
    def hours(self) -> set[datetime]:
        """The hours that they are of."""
        return set(self.hour_of.values())

    def beside(self, some: Iterable[int]) -> list[int]:
        """List the windows of the same hours as some of them."""
        hours = {self.hour_of[pk] for pk in some}
        return [pk for pk in self.ids if self.hour_of.get(pk) in hours]


def windows_named(ids: Sequence[int]) -> Windows:
    """Read windows, and whether events of their hours were adjusted."""
    rows = UsageWindow.objects.filter(pk__in=ids).values_list(
        "id", "customer_id", "start_at", "meter_id", "event_count"
    )
    customers, hour_of, counted = set[int](), dict[int, datetime](), Counter[int]()
    for pk, customer, hour, meter, count in rows:
        customers.add(customer)
        hour_of[pk] = hour
        counted[meter] += count
    is_adjusted = _is_adjusted(customers, set(hour_of.values()))
    return Windows(ids, customers, hour_of, counted, is_adjusted)


def _is_adjusted(customers: set[int], hours: set[datetime]) -> bool:
    if not hours:
        return False
    adjusted = MeterEventAdjustment.objects.filter(
        customer_id__in=customers, timestamp__gte=min(hours), timestamp__lt=max(hours) + _HOUR
    )
    return adjusted.exists()


def first_events(
    rules: Collection[MeterRule], windows: Windows, few: int, times: Times
) -> tuple[list[Pair], bool]:
    """List events as they were sent in the windows, earliest first, with their windows.

    Args:
        rules: Of no level.
        few: Most of one rule, >= 1.

    Returns:
        Pairs in no order, and whether there may be more.
    """
    raw = None if windows.is_adjusted else few * _RAW_OF_ONE
    pairs = _ask(rules, windows, few, times, raw)
    if raw is not None:
        short = _short(rules, windows, few, pairs)
        kept = [pair for pair in pairs if pair.label not in {rule.code for rule in short}]
        pairs = [*kept, *_ask(short, windows, few, times, None)]
    return pairs, any(_count(rule, pairs) >= few for rule in rules)


def _short(
    rules: Iterable[MeterRule], windows: Windows, few: int, pairs: Sequence[Pair]
) -> list[MeterRule]:
    """List the rules of which too little was read: others' events stood before theirs."""
    return [
        rule for rule in rules if _count(rule, pairs) < min(few, windows.counted.get(rule.id, 0))
    ]


def _count(rule: MeterRule, pairs: Iterable[Pair]) -> int:
    return sum(pair.label == rule.code for pair in pairs)


def _ask(
    rules: Collection[MeterRule], windows: Windows, few: int, times: Times, raw: int | None
) -> list[Pair]:
    if not rules:
        return []
    queries = [_of_rule(rule) for rule in rules]
    params: dict[str, Any] = {
        "ids": list(windows.ids), "times": [times.get(pk) for pk in windows.ids],
        "slack": CLOCK_SLACK, "few": few, "raw": raw,
    }  # fmt: skip
    for query in queries:
        params |= query.params
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"({query.text})" for query in queries), params)
        return [Pair(*row) for row in cursor.fetchall()]


def _of_rule(rule: MeterRule) -> Query:
    condition = falls_into(rule)
    text = _FIRST.format(name=rule.key, condition=condition.text)
    return Query(text, {**condition.params, f"{rule.key}_code": rule.code})
