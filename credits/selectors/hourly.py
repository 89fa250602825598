"""What customers and their parts used hour by hour: the series that anomalies are looked for in."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from billing_project.kernel.period import HOUR, Period
from credits.anomalies import (
    LOOK,
    SAMPLES,
    WEEK,
    WEEKS,
    WHOLE,
    HourUse,
    Key,
    grown_model,
    may_be_odd,
)
from credits.models import BillingPeriod, PricingUnit, SpendHour, SpendMark
from credits.selectors.hour_sql import ROWS

# So long a series says what is usual in its last two.
LOOKED = (WEEKS * WEEK + 2 * LOOK) * HOUR
_KNOWN = WEEKS * WEEK * HOUR
_SEASONED = ((WEEKS - 1) * WEEK + 2 * LOOK) * HOUR  # From then on the hours of the week count.
_ZERO = Decimal(0)
_AT_ONCE = 100
_CELLS = """
SELECT customer_id, dimension, value, start_at, credits, calls FROM spend_hour
 WHERE customer_id = ANY(%s) AND start_at = ANY(%s)
"""
_FIRST = """
SELECT c.id, (SELECT min(start_at) FROM spend_hour h
               WHERE h.customer_id = c.id AND h.dimension = 'customer' AND h.calls > 0)
  FROM unnest(%s::bigint[]) c(id)
"""
# What each model had of a customer's calls in the weeks before; "" is the customer.
_MODELS = """
SELECT customer_id, value, sum(calls)::bigint FROM spend_hour
 WHERE customer_id = ANY(%s) AND dimension IN ('model', 'customer')
   AND start_at >= %s AND start_at < %s
 GROUP BY 1, 2
"""
_REPEATED = """
SELECT coalesce(max(calls), 0) FROM (
    SELECT count(*) AS calls FROM meter_event
     WHERE customer_id = %s AND "timestamp" >= %s AND "timestamp" < %s GROUP BY properties) same
"""
_KEYS = """
SELECT u.customer_id, u.value::bigint, min(u.start_at), sum(u.credits)
  FROM spend_hour u
 WHERE u.customer_id = ANY(%(customers)s) AND u.dimension = 'key'
   AND u.start_at >= %(start)s AND u.start_at < %(end)s
   AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.customer_id = u.customer_id
                   AND h.api_key_id = u.value::bigint AND h.made_at < %(start)s)
   AND EXISTS (SELECT 1 FROM hold h WHERE h.customer_id = u.customer_id
               AND h.api_key_id <> u.value::bigint AND h.made_at < %(start)s)
 GROUP BY 1, 2
"""
# What was rated, or asked for, after the hour was read is no drift; nor are calls that wait for it.
_DRIFTED = f"""
WITH fresh AS ({ROWS}), kept AS (
    SELECT h.* FROM spend_hour h JOIN spend_mark m ON m.customer_id = h.customer_id
     WHERE h.customer_id = ANY(%(customers)s) AND h.start_at >= m.kept_since
       AND h.start_at < m.kept_until
)
SELECT customer_id, start_at, dimension || ' ' || value, kept.credits, kept.calls, fresh.credits,
       fresh.calls
  FROM kept FULL JOIN fresh USING (customer_id, start_at, dimension, value)
 WHERE (kept.credits, kept.calls) IS DISTINCT FROM (fresh.credits, fresh.calls)
   AND CASE WHEN dimension = 'key' THEN NOT EXISTS (
       SELECT 1 FROM hold o
        WHERE o.customer_id = coalesce(kept.customer_id, fresh.customer_id)
          AND o.made_at >= coalesce(kept.start_at, fresh.start_at)
          AND o.made_at < coalesce(kept.start_at, fresh.start_at) + interval '1 hour'
          AND coalesce(o.ended_at, 'infinity')
              > coalesce(kept.start_at, fresh.start_at) + interval '1 hour')
   ELSE NOT EXISTS (
       SELECT 1 FROM usage_window w LEFT JOIN window_rating r ON r.window_id = w.id
        WHERE w.customer_id = coalesce(kept.customer_id, fresh.customer_id)
          AND w.start_at = coalesce(kept.start_at, fresh.start_at)
          AND (r.revision IS DISTINCT FROM w.revision OR EXISTS (
              SELECT 1 FROM rated_usage u JOIN spend_mark m ON m.customer_id = u.customer_id
               WHERE u.window_id = w.id AND u.id > m.through_id)))
   END
"""  # noqa: S608 - Nothing of it comes from outside.


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


def billed_in(customer_ids: Collection[int], span: Period) -> dict[int, list[Period]]:
    """Return when customers had a billing period: elsewhere nothing is expected of them."""
    rows = BillingPeriod.objects.filter(
        customer_id__in=customer_ids, start_at__lt=span.end, end_at__gt=span.start
    )
    found: dict[int, list[Period]] = defaultdict(list)
    for customer_id, start, end in rows.values_list("customer_id", "start_at", "end_at"):
        found[customer_id].append(Period(start, end))
    return found


def units_of(
    customer_ids: Collection[int], span: Period
) -> dict[int, tuple[PricingUnit, list[int]]]:
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


def worth_a_look(
    looks: Mapping[int, Sequence[datetime]], floor: Decimal
) -> dict[int, list[datetime]]:
    """Choose the hours of customers that may be odd, from few hours before them.

    Args:
        looks: By customer the hours to look at, each with the one before it.

    Returns:
        Of each customer the hours that `series_of` has to be read and examined for. Who is new
        is always looked at.
    """
    hours = {at for several in looks.values() for at in several}
    wanted = {at - HOUR + n * HOUR for at in hours for n in range(LOOK)}
    wanted |= {at - (back + 1 - n) * HOUR for at in hours for back in SAMPLES for n in range(LOOK)}
    cells = _cells(looks, sorted(wanted))
    first = dict(_rows(_FIRST, [list(looks)]))
    found: dict[int, list[datetime]] = {}
    for customer_id, several in looks.items():
        since, series = first[customer_id], cells.get(customer_id, {})
        for at in several if since is not None else ():
            if since > at - _SEASONED or any(_is_close(one, at, floor) for one in series.values()):
                found.setdefault(customer_id, []).append(at)
    for customer_id, at in _switching(looks, cells):
        if at not in found.setdefault(customer_id, []):
            found[customer_id].append(at)
    return {customer_id: sorted(several) for customer_id, several in found.items() if several}


def series_of(customer_id: int, span: Period) -> dict[Key, list[HourUse]]:
    """Read a customer's hours and those of its parts, without a gap, from the first use on."""
    rows = SpendHour.objects.filter(
        customer_id=customer_id, start_at__gte=span.start, start_at__lt=span.end
    )
    return _series(rows.values_list("dimension", "value", "start_at", "credits", "calls"), span)


def series_from_facts(customer_id: int, span: Period) -> dict[Key, list[HourUse]]:
    """Read the same from the facts, where no hours are kept; without keys."""
    units = units_of([customer_id], span)
    hours = [span.start + n * HOUR for n in range((span.end - span.start) // HOUR)]
    values = {
        "customers": [customer_id] * len(hours), "hours": hours,
        "periods": [pk for _, ids in units.values() for pk in ids],
    }  # fmt: skip
    return _series((row[1:] for row in _rows(ROWS, values)), span)


def drifted_hours() -> Iterator[tuple[int, str]]:
    """Find kept hours that are not what their facts sum to, as far as those were read."""
    marks = list(SpendMark.objects.values_list("customer_id", "kept_since", "kept_until"))
    for start in range(0, len(marks), _AT_ONCE):
        some = marks[start : start + _AT_ONCE]
        pairs = [
            (pk, since + n * HOUR)
            for pk, since, until in some
            for n in range((until - since) // HOUR)
        ]
        if not pairs:
            continue
        span = Period(min(since for _, since, _ in some), max(until for *_, until in some))
        units = units_of([pk for pk, *_ in some], span)
        values = {
            "customers": [pk for pk, _ in pairs], "hours": [at for _, at in pairs],
            "periods": [pk for _, ids in units.values() for pk in ids],
        }  # fmt: skip
        for customer_id, at, name, *amounts in _rows(_DRIFTED, values):
            said = "{} credits of {} calls kept, {} of {} by the facts".format(*amounts)
            yield customer_id, f"{name.strip()} at {at:%Y-%m-%d %H}: {said}"


def _series(
    rows: Iterable[tuple[str, str, datetime, Decimal, int]], span: Period
) -> dict[Key, list[HourUse]]:
    used: dict[Key, dict[datetime, tuple[Decimal, int]]] = defaultdict(dict)
    parts: dict[datetime, dict[Key, Decimal]] = defaultdict(dict)
    models: dict[datetime, dict[str, int]] = defaultdict(dict)
    for dimension, value, at, amount, calls in rows:
        used[dimension, value][at] = amount, calls
        if dimension != WHOLE[0]:
            parts[at][dimension, value] = amount
        if dimension == "model":
            models[at][value] = calls
    used.setdefault(WHOLE, {})
    found = {key: _filled(hours, span) for key, hours in used.items()}
    for number, hour in enumerate(found[WHOLE]):
        at = hour.start
        named = models.get(at, {})
        found[WHOLE][number] = replace(
            hour, parts=parts.get(at, {}), calls_by_model=_by_model({**named, "": hour.calls})
        )
    return found


def with_repeats(customer_id: int, whole: Sequence[HourUse]) -> list[HourUse]:
    """Look, in the last two hours, for calls of the same content."""
    hours = list(whole)
    for number in range(max(len(hours) - LOOK, 0), len(hours)):
        start = hours[number].start
        ((repeated,),) = _rows(_REPEATED, [customer_id, start, start + HOUR])
        hours[number] = replace(hours[number], repeated=repeated)
    return hours


def first_uses(customer_ids: Collection[int], span: Period) -> list[FirstUse]:
    """List keys that held credits in a span and never before, beside older keys of the customer."""
    values = {"customers": list(customer_ids), "start": span.start, "end": span.end}
    return [FirstUse(*row) for row in _rows(_KEYS, values)]


def _filled(used: Mapping[datetime, tuple[Decimal, int]], span: Period) -> list[HourUse]:
    first = min((at for at, (_, calls) in used.items() if calls), default=span.end)
    count = (span.end - first) // HOUR
    hours = (first + n * HOUR for n in range(count))
    return [HourUse(at, *used.get(at, (_ZERO, 0))) for at in hours]


Cells = dict[Key, dict[datetime, tuple[Decimal, int]]]


def _cells(looks: Mapping[int, object], hours: list[datetime]) -> dict[int, Cells]:
    found: dict[int, Cells] = defaultdict(lambda: defaultdict(dict))
    for customer_id, dimension, value, at, amount, calls in _rows(_CELLS, [list(looks), hours]):
        found[customer_id][dimension, value][at] = amount, calls
    return found


def _is_close(series: Mapping[datetime, tuple[Decimal, int]], at: datetime, floor: Decimal) -> bool:
    start = at - HOUR
    samples = [_together(series, start - back * HOUR) for back in SAMPLES]
    return may_be_odd(_together(series, start), samples, floor)


def _together(
    series: Mapping[datetime, tuple[Decimal, int]], start: datetime
) -> tuple[Decimal, int]:
    one, two = (series.get(start + n * HOUR, (_ZERO, 0)) for n in range(LOOK))
    return one[0] + two[0], one[1] + two[1]


def _switching(
    looks: Mapping[int, Sequence[datetime]], cells: Mapping[int, Cells]
) -> Iterator[tuple[int, datetime]]:
    """Find hours in which a model has so much more of the calls that it may be a switch."""
    for at in sorted({at for several in looks.values() for at in several}):
        customers = [pk for pk, several in looks.items() if at in several]
        start = at - HOUR
        then: dict[int, dict[str, int]] = defaultdict(dict)
        for customer_id, model, calls in _rows(_MODELS, [customers, start - _KNOWN, start]):
            then[customer_id][model] = calls
        for customer_id in customers:
            now = {
                value: _together(series, start)[1]
                for (dimension, value), series in cells.get(customer_id, {}).items()
                if dimension in ("model", "customer")
            }
            if grown_model(_by_model(now), _by_model(then[customer_id])):
                yield customer_id, at


def _by_model(calls: Mapping[str, int]) -> dict[str, int]:
    """Turn calls of the customer ("") and of its models into calls of models, and of none."""
    named = {model: count for model, count in calls.items() if model and count}
    rest = calls.get("", 0) - sum(named.values())
    return named | {"": rest} if rest > 0 else named


def _rows(sql: str, values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
