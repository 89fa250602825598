"""Usage windows, and the quantity of a whole period by each meter's own rule."""

from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import Max, QuerySet, Sum

from metering.models import Aggregation, UsageWindow
from metering.reading_sql import falls_into
from metering.selectors.meters import rule_of

_NONE = Decimal(0)
_DISTINCT = """
SELECT count(DISTINCT e.properties ->> %(value)s)::numeric
FROM usage_window w
JOIN used_meter_event e
  ON e."timestamp" >= %(start)s AND e."timestamp" < %(end)s AND {condition}
WHERE w.id = %(window)s
"""


def windows_in(customer_id: int, start: datetime, end: datetime) -> QuerySet[UsageWindow]:
    """Return a customer's windows that start in [start, end), oldest first."""
    return (
        UsageWindow.objects.filter(customer_id=customer_id, start_at__gte=start, start_at__lt=end)
        .select_related("meter", "workspace")
        .order_by("start_at", "id")
    )


def period_quantity(window: UsageWindow, start: datetime, end: datetime) -> Decimal:
    """Return the quantity of [start, end) for the window's meter, workspace and dimensions.

    Sum and count add the hours up; max takes the largest; last takes the last hour with an event;
    unique counts each value once in the whole period, from the events.
    """
    windows = _same_key(window, start, end)
    aggregation = window.meter.aggregation
    if aggregation == Aggregation.UNIQUE:
        return _unique(window, start, end)
    if aggregation == Aggregation.LAST:
        last = windows.filter(event_count__gt=0).order_by("-start_at").first()
        return last.quantity if last else _NONE
    rule = Max if aggregation == Aggregation.MAX else Sum
    total: Decimal | None = windows.aggregate(total=rule("quantity"))["total"]
    return total or _NONE


def _same_key(window: UsageWindow, start: datetime, end: datetime) -> QuerySet[UsageWindow]:
    return UsageWindow.objects.filter(
        customer_id=window.customer_id,
        meter_id=window.meter_id,
        workspace_id=window.workspace_id,  # type: ignore[misc]  # None means IS NULL here.
        dimensions_key=window.dimensions_key,
        start_at__gte=start,
        start_at__lt=end,
    )


def _unique(window: UsageWindow, start: datetime, end: datetime) -> Decimal:
    rule = rule_of(window.meter)
    condition = falls_into(rule)
    with connection.cursor() as cursor:
        cursor.execute(
            _DISTINCT.format(condition=condition.text),
            {
                **condition.params,
                "value": rule.value_property,
                "window": window.pk,
                "start": start,
                "end": end,
            },
        )
        quantity: Decimal = cursor.fetchone()[0]
    return quantity
