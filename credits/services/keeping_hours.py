"""Keep what customers used hour by hour, and up to which hour it was looked at.

An hour is folded again from its facts whenever one came to it; so it is the same whatever the order
in which they came, and `check_books` folds it again.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Max

from billing_project.kernel.period import HOUR, Period
from credits.models import PricingUnit, SpendHour, SpendMark
from credits.selectors.hour_sql import ROWS
from credits.selectors.hourly import LOOKED, units_of

_UNRATED_HOURS = 6  # Calls and holds may come later than what is rated of them.
_INSERT = "INSERT INTO spend_hour (customer_id, dimension, value, start_at, credits, calls)"
_DROP = """
DELETE FROM spend_hour h USING unnest(%(customers)s::bigint[], %(hours)s::timestamptz[]) w(c, at)
 WHERE h.customer_id = w.c AND h.start_at = w.at
"""
_LAST = """
SELECT c.id, coalesce((SELECT max(r.id) FROM rated_usage r WHERE r.customer_id = c.id), 0)
  FROM unnest(%s::bigint[]) c(id)
"""
_RATED = """
SELECT m.customer_id, r.service_at, max(r.id)
  FROM spend_mark m JOIN rated_usage r ON r.customer_id = m.customer_id AND r.id > m.through_id
 WHERE m.customer_id = ANY(%s) GROUP BY 1, 2
"""


def last_looked() -> datetime | None:
    """Return up to which hour the last run looked; None before the first."""
    found: datetime | None = SpendMark.objects.aggregate(last=Max("looked_until"))["last"]
    return found


@transaction.atomic
def follow_hours(
    customer_ids: Collection[int], end: datetime, begun: datetime
) -> tuple[dict[int, SpendMark], dict[int, set[datetime]]]:
    """Fold what came since the last run into customers' hours up to an instant.

    Args:
        begun: From then on hours of customers without a mark are to be looked at.

    Returns:
        The marks, and which hours of each customer usage was added to.
    """
    units = units_of(customer_ids, Period(end - LOOKED, end))
    marks = _marks(units, end, begun)
    changed: dict[int, set[datetime]] = {customer_id: set() for customer_id in marks}
    for customer_id, at, last_id in _rows(_RATED, [list(marks)]):
        mark = marks[customer_id]
        mark.through_id = max(mark.through_id, last_id)
        if mark.kept_since <= at < end:
            changed[customer_id].add(at)
    pairs: list[tuple[int, datetime]] = []
    for customer_id, mark in marks.items():
        since = max(mark.kept_since, mark.kept_until - _UNRATED_HOURS * HOUR)
        hours = {since + n * HOUR for n in range((end - since) // HOUR)}
        pairs += [(customer_id, at) for at in hours | changed[customer_id]]
        mark.kept_until = max(end, mark.kept_until)
    SpendMark.objects.bulk_update(marks.values(), ["through_id", "kept_until"])
    _fold(pairs, [pk for _, ids in units.values() for pk in ids])
    return marks, changed


@transaction.atomic
def mark_looked(customer_ids: Collection[int], end: datetime) -> None:
    """Say that hours up to an instant were looked at; let go those that nothing is held against."""
    SpendMark.objects.filter(pk__in=customer_ids, looked_until__lt=end).update(
        looked_until=end, kept_since=end - LOOKED
    )
    SpendHour.objects.filter(customer_id__in=customer_ids, start_at__lt=end - LOOKED).delete()


def _marks(
    units: Mapping[int, tuple[PricingUnit, list[int]]], end: datetime, begun: datetime
) -> dict[int, SpendMark]:
    """Lock customers' marks and make missing ones; whose kind of credits changed begins anew."""
    since = min(begun, end) - LOOKED
    locked = SpendMark.objects.select_for_update().filter(pk__in=units).order_by("pk")
    marks = {mark.pk: mark for mark in locked.select_related("pricing_unit")}
    for mark in marks.values():
        unit = units[mark.pk][0]
        if mark.pricing_unit_id != unit.pk:
            SpendHour.objects.filter(customer_id=mark.pk).delete()
            mark.pricing_unit, mark.kept_until = unit, mark.kept_since
            mark.save()
    missing = [pk for pk in units if pk not in marks]
    made = [
        SpendMark(customer_id=pk, pricing_unit=units[pk][0], through_id=last_id, kept_since=since,
                  kept_until=since, looked_until=min(begun, end))
        for pk, last_id in _rows(_LAST, [missing])
    ]  # fmt: skip
    SpendMark.objects.bulk_create(made)
    return marks | {mark.pk: mark for mark in made}


def _fold(pairs: Collection[tuple[int, datetime]], periods: Collection[int]) -> None:
    """Write hours of customers anew, from what is known of them now."""
    values: dict[str, Any] = {
        "customers": [customer_id for customer_id, _ in pairs],
        "hours": [at for _, at in pairs],
        "periods": list(periods),
    }
    with connection.cursor() as cursor:
        cursor.execute(_DROP, values)
        cursor.execute(f"{_INSERT} {ROWS}", values)


def _rows(sql: str, values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
