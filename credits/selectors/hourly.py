"""What customers used hour by hour: the series that anomalies are looked for in."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db import connection

from billing_project.kernel.period import HOUR, Period
from credits.anomalies import HourUse
from credits.models import BillingPeriod, PricingUnit

# Credits by hour, workspace and model, of the billing periods in the customer's present unit.
_CREDITS = """
SELECT r.customer_id, r.service_at, coalesce(p.external_id, ''),
       coalesce(w.dimensions->>'model', ''), sum(r.charge)
  FROM rated_usage r JOIN usage_window w ON w.id = r.window_id
  LEFT JOIN workspace p ON p.id = w.workspace_id
 WHERE r.billing_period_id = ANY(%s) AND r.service_at >= %s AND r.service_at < %s
 GROUP BY 1, 2, 3, 4
"""
# An event counts once, however many meters read it.
_CALLS = """
SELECT customer_id, start_at, model, max(events) FROM (
    SELECT customer_id, start_at, coalesce(dimensions->>'model', '') AS model, meter_id,
           sum(event_count) AS events
      FROM usage_window
     WHERE customer_id = ANY(%s) AND start_at >= %s AND start_at < %s
     GROUP BY 1, 2, 3, 4) counted
 GROUP BY 1, 2, 3
"""
_REPEATED = """
SELECT coalesce(max(calls), 0) FROM (
    SELECT count(*) AS calls FROM meter_event
     WHERE customer_id = %s AND "timestamp" >= %s AND "timestamp" < %s GROUP BY properties) same
"""
_KEYS = """
SELECT h.customer_id, h.api_key_id, min(h.made_at),
       sum(h.credits) FILTER (WHERE h.made_at >= %(start)s),
       (SELECT min(o.made_at) FROM hold o WHERE o.customer_id = h.customer_id
           AND o.api_key_id <> h.api_key_id)
  FROM hold h
 WHERE h.customer_id = ANY(%(customers)s) AND h.api_key_id IS NOT NULL AND h.made_at < %(end)s
   AND h.pricing_unit_id = ANY(%(units)s)
 GROUP BY 1, 2 HAVING min(h.made_at) >= %(start)s
"""


@dataclass(frozen=True)
class Series:
    """One customer's hours, in one kind of credits."""

    customer_id: int
    unit: PricingUnit
    hours: tuple[HourUse, ...]


@dataclass(frozen=True)
class FirstUse:
    """A key that held credits for the first time, where another key did before."""

    customer_id: int
    api_key_id: int
    first_at: datetime
    credits: Decimal


def customers_in(span: Period) -> list[int]:
    """List customers who had a billing period in a span."""
    periods = BillingPeriod.objects.filter(start_at__lt=span.end, end_at__gt=span.start)
    return list(periods.order_by("customer_id").values_list("customer_id", flat=True).distinct())


def series_of(customer_ids: Collection[int], span: Period) -> list[Series]:
    """Read hours without a gap; of a customer whose kind of credits changed, the present kind's."""
    units = _units(customer_ids, span)
    ids = [pk for _, periods in units.values() for pk in periods]
    spent: dict[tuple[int, datetime], dict[tuple[str, str], Decimal]] = defaultdict(dict)
    calls: dict[tuple[int, datetime], dict[str, int]] = defaultdict(dict)
    total: dict[tuple[int, datetime], Decimal] = defaultdict(Decimal)
    with connection.cursor() as cursor:
        cursor.execute(_CREDITS, [ids, span.start, span.end])
        for customer_id, at, place, model, amount in cursor.fetchall():
            parts = spent[customer_id, at]
            for key in (("model", model), ("workspace", place)):
                if key[1]:
                    parts[key] = parts.get(key, Decimal(0)) + amount
            total[customer_id, at] += amount
        cursor.execute(_CALLS, [list(units), span.start, span.end])
        for customer_id, at, model, count in cursor.fetchall():
            calls[customer_id, at][model] = int(count)
    found = []
    for customer_id, (unit, _) in units.items():
        hours = tuple(
            HourUse(
                at,
                total.get((customer_id, at), Decimal(0)),
                sum(calls.get((customer_id, at), {}).values()),
                spent.get((customer_id, at), {}),
                calls.get((customer_id, at), {}),
            )
            for at in _hours(span)
        )
        first = next((n for n, hour in enumerate(hours) if hour.calls), len(hours))
        found.append(Series(customer_id, unit, hours[first:]))
    return found


def with_repeats(series: Series, count: int) -> Series:
    """Look, in the last hours, for calls of the same content."""
    hours = list(series.hours)
    for number in range(max(len(hours) - count, 0), len(hours)):
        start = hours[number].start
        with connection.cursor() as cursor:
            cursor.execute(_REPEATED, [series.customer_id, start, start + HOUR])
            hours[number] = replace(hours[number], repeated=cursor.fetchone()[0])
    return replace(series, hours=tuple(hours))


def first_uses(series: Collection[Series], span: Period) -> list[FirstUse]:
    """List keys that held credits in a span and never before, beside older keys of the customer."""
    with connection.cursor() as cursor:
        cursor.execute(
            _KEYS,
            {
                "customers": [one.customer_id for one in series],
                "units": list({one.unit.pk for one in series}),
                "start": span.start,
                "end": span.end,
            },
        )
        rows = cursor.fetchall()
    return [
        FirstUse(customer_id, key_id, first_at, amount)
        for customer_id, key_id, first_at, amount, others_at in rows
        if others_at is not None and others_at < span.start
    ]


def _units(customer_ids: Collection[int], span: Period) -> dict[int, tuple[PricingUnit, list[int]]]:
    """Return each customer's present kind of credits, and the billing periods that are in it."""
    rows = BillingPeriod.objects.filter(
        customer_id__in=customer_ids, start_at__lt=span.end, end_at__gt=span.start
    ).select_related("rate_card__pricing_unit")
    found: dict[int, tuple[PricingUnit, list[int]]] = {}
    for period in rows.order_by("customer_id", "-start_at"):
        unit, ids = found.setdefault(period.customer_id, (period.rate_card.pricing_unit, []))
        if period.rate_card.pricing_unit_id == unit.pk:
            ids.append(period.pk)
    return found


def _hours(span: Period) -> list[datetime]:
    count = (span.end - span.start) // HOUR
    return [span.start + number * HOUR for number in range(count)]
