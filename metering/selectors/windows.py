"""Usage windows, and the quantity of a whole period by each meter's own rule."""

from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import Max, Min, QuerySet, Sum

from metering.aggregation import MeterRule
from metering.models import Aggregation, UsageWindow
from metering.reading_sql import Params, falls_into, value_of
from metering.selectors.archive import refuse_archived
from metering.selectors.meters import rules_of

_NONE = Decimal(0)
_DISTINCT = "SELECT count(DISTINCT value)::numeric FROM ({values}) v"
_VALUES = """
SELECT {value} AS value
FROM usage_window w
JOIN used_meter_event e
  ON e."timestamp" >= %(start)s AND e."timestamp" < %(end)s AND {condition}
WHERE w.id = %(window)s
"""
_OVER_HOURS = {Aggregation.MAX: Max, Aggregation.MIN: Min}


def windows_in(customer_id: int, start: datetime, end: datetime) -> QuerySet[UsageWindow]:
    """Return a customer's windows that start in [start, end), oldest first."""
    return (
        UsageWindow.objects.filter(customer_id=customer_id, start_at__gte=start, start_at__lt=end)
        .select_related("meter", "workspace")
        .order_by("start_at", "id")
    )


def period_quantity(window: UsageWindow, start: datetime, end: datetime) -> Decimal:
    """Return the quantity of [start, end) for the window's meter, workspace and dimensions.

    Sum, count and time-weighted sum add the hours up; max and min take the largest and smallest
    of the hours with an event; last takes the last one of them; unique counts each value once in
    the whole period, from the events.
    """
    aggregation = Aggregation(window.meter.aggregation)
    if aggregation == Aggregation.UNIQUE:
        return _unique(window, start, end)
    windows = _same_key(window, start, end)
    if aggregation == Aggregation.LAST:
        last = windows.filter(event_count__gt=0).order_by("-start_at").first()
        return last.quantity if last else _NONE
    if aggregation in _OVER_HOURS:  # An hour whose events were all cancelled says nothing.
        windows = windows.filter(event_count__gt=0)
    over_hours = _OVER_HOURS.get(aggregation, Sum)
    total: Decimal | None = windows.aggregate(total=over_hours("quantity"))["total"]
    return total or _NONE


def hours_before(window: UsageWindow) -> QuerySet[UsageWindow]:
    """Return the earlier windows of the same meter, customer, workspace and dimensions."""
    return _of_key(window).filter(start_at__lt=window.start_at)


def _same_key(window: UsageWindow, start: datetime, end: datetime) -> QuerySet[UsageWindow]:
    return _of_key(window).filter(start_at__gte=start, start_at__lt=end)


def _of_key(window: UsageWindow) -> QuerySet[UsageWindow]:
    return UsageWindow.objects.filter(
        customer_id=window.customer_id,
        meter_id=window.meter_id,
        workspace_id=window.workspace_id,  # type: ignore[misc]  # None means IS NULL here.
        dimensions_key=window.dimensions_key,
    ).select_related("meter")


def _unique(window: UsageWindow, start: datetime, end: datetime) -> Decimal:
    """Count values over the versions that split by what the window is split by."""
    refuse_archived(start, end)
    names = tuple(sorted(window.dimensions))
    rules = [rule for rule in rules_of(window.meter) if rule.dimensions == names]
    params: Params = {"window": window.pk, "start": start, "end": end}
    texts = [_values_text(rule, params) for rule in rules]
    with connection.cursor() as cursor:
        cursor.execute(_DISTINCT.format(values=" UNION ALL ".join(texts)), params)
        quantity: Decimal = cursor.fetchone()[0]
    return quantity


def _values_text(rule: MeterRule, params: Params) -> str:
    condition = falls_into(rule)
    params.update(condition.params)
    return _VALUES.format(value=value_of(rule), condition=condition.text)
