"""What another reading would have made of stored events, beside what the meter made of them.

Both are read from raw events in one state of the database; nothing is written.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import OperationalError, connection, transaction

from billing_project.kernel.errors import Invalid
from billing_project.kernel.period import Period, hour_of, midnight
from metering.aggregation import MeterRule
from metering.models import Customer, MeterVersion
from metering.reading_effect_sql import COUNTED, select_matches, select_quantities
from metering.reading_sql import Params, Query
from metering.selectors.archive import first_open, refuse_archived
from metering.selectors.meters import open_rule, rules_of

MOST_EVENTS = 500_000
MOST_CUSTOMERS = 50  # Listed; the totals are of all.
_SECONDS = 20
_CANCELLED = "57014"  # PostgreSQL: statement timeout.
_NONE = Decimal(0)


@dataclass(frozen=True)
class Part:
    """What a reading makes of events: quantity of the span, keys it is split by, events."""

    quantity: Decimal = _NONE
    key_count: int = 0
    event_count: int = 0


@dataclass(frozen=True)
class CustomerEffect:
    """One customer's usage by both readings."""

    customer: str
    before: Part
    after: Part

    @property
    def difference(self) -> Decimal:
        """How much more the new reading counts."""
        return self.after.quantity - self.before.quantity


@dataclass(frozen=True)
class ReadingEffect:
    """Both readings of the same stored events. Quantities are exact, in the meter's unit.

    A customer's quantity adds up the span's quantities of workspaces and dimensions, as they are
    priced; `before` and `after` add up all customers.
    """

    start: datetime
    end: datetime
    unit: str
    event_count: int  # Of the event names that either reads.
    kept: int  # Counted by both.
    gained: int
    lost: int
    unreadable: int  # Asked for a value that is not there: such events would wait in quarantine.
    before: Part
    after: Part
    customers: tuple[CustomerEffect, ...]  # The largest difference first, at most MOST_CUSTOMERS.
    customer_count: int

    @property
    def difference(self) -> Decimal:
        """How much more the new reading counts for all customers."""
        return self.after.quantity - self.before.quantity

    @property
    def more(self) -> int:
        """How many customers with smaller differences are not listed."""
        return self.customer_count - len(self.customers)


def last_month(at: datetime) -> Period:
    """Return the last whole month (UTC)."""
    return Period(first_open(at), midnight(hour_of(at).date().replace(day=1)))


def reading_effect(
    wanted: MeterVersion, at: datetime, period: Period | None = None
) -> ReadingEffect:
    """Compare a version that is not stored with what the meter counted.

    Cancelled events count nothing, amended ones as amended; what waits in quarantine or to be
    aggregated is not read. A level that holds when the span begins goes on in both readings, as it
    will when the version takes effect.

    Args:
        wanted: Unsaved, the meter's next; as if it had taken effect where the span begins.
        period: Whole UTC hours that are over; the last whole month if None.

    Raises:
        Invalid: a span inside hours or not over yet, or one that holds too much to be read.
        MonthArchived: it touches an archived month.
    """
    span = period or last_month(at)
    _refuse_bad_span(span, at)
    meter = wanted.meter
    before = rules_of(meter)
    after = replace(open_rule(wanted), start_at=span.start)
    with _one_state():
        _refuse_too_many(span)
        was = _parts(before, span)
        is_now = _parts([*_until(before, span.start), after], span)
        events, kept, gained, lost, unreadable = _rows(select_matches(before, after), span)[0]
    names = Customer.objects.filter(pk__in={*was, *is_now}).values_list("pk", "external_id")
    effects = [
        CustomerEffect(name, was.get(pk, Part()), is_now.get(pk, Part())) for pk, name in names
    ]
    effects.sort(key=lambda one: (-abs(one.difference), one.customer))
    return ReadingEffect(
        span.start, span.end, meter.unit, events, kept, gained, lost, unreadable,
        _sum([one.before for one in effects]), _sum([one.after for one in effects]),
        tuple(effects[:MOST_CUSTOMERS]), len(effects),
    )  # fmt: skip


def _refuse_bad_span(span: Period, at: datetime) -> None:
    if any(hour_of(bound) != bound for bound in (span.start, span.end)):
        raise Invalid("start and end are whole UTC hours")
    if span.end > hour_of(at):
        raise Invalid(f"end is at most {hour_of(at):%Y-%m-%d %H:%M} (UTC), the last hour's end")
    refuse_archived(span.start, span.end)


def _until(rules: Sequence[MeterRule], instant: datetime) -> list[MeterRule]:
    """Keep the rules of before an instant; each ends there at the latest."""
    return [
        replace(rule, end_at=min(rule.end_at or instant, instant))
        for rule in rules
        if rule.start_at is None or rule.start_at < instant
    ]


@contextmanager
def _one_state() -> Iterator[None]:
    """Open one state of the database that cannot be written, and give up in time.

    Raises:
        Invalid: a statement took too long.
    """
    is_outermost = not connection.in_atomic_block
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            if is_outermost:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(f"SET LOCAL statement_timeout = '{_SECONDS}s'")
            yield
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != _CANCELLED:
            raise
        raise Invalid("there is too much usage in this span; take a shorter one") from error


def _refuse_too_many(span: Period) -> None:
    with connection.cursor() as cursor:
        bounds = {"start": span.start, "end": span.end}
        cursor.execute(COUNTED, {**bounds, "most": MOST_EVENTS + 1})
        (count,) = cursor.fetchone()
    if count > MOST_EVENTS:
        raise Invalid(
            f"this span holds more than {MOST_EVENTS:,} events, the most that are read for a"
            " preview; take a shorter one"
        )


def _parts(rules: Sequence[MeterRule], span: Period) -> dict[int, Part]:
    found = _rows(select_quantities(rules), span, rules[0].id)
    return {pk: Part(quantity, keys, events) for pk, keys, quantity, events in found}


def _rows(query: Query, span: Period, meter_id: int = 0) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        bounds: Params = {"start": span.start, "end": span.end, "meter": meter_id}
        cursor.execute(query.text, {**query.params, **bounds})
        return list(cursor.fetchall())


def _sum(parts: Sequence[Part]) -> Part:
    return Part(
        sum((part.quantity for part in parts), _NONE),
        sum(part.key_count for part in parts),
        sum(part.event_count for part in parts),
    )
