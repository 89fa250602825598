"""Read windows anew from raw events into a scratch table, and say where the stored ones differ.

Nothing is changed here. Each chunk is read on one state of the database, so that an aggregator at
work meanwhile makes no difference that is none.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby

from django.db import connection, transaction
from django.db.models import Max, Min

from billing_project.kernel.errors import Invalid
from billing_project.kernel.period import HOUR, Period, hour_of, midnight, months_between
from metering.aggregation import MeterRule
from metering.models import Customer, EventBatch, UsageWindow
from metering.replay_sql import SCRATCH, Span, differences, replay
from metering.selectors.archive import archived_starts, refuse_archived
from metering.selectors.meters import meter_rules

CUSTOMERS = 500  # Of one chunk.


@dataclass(frozen=True)
class Difference:
    """A window that does not say what its events say."""

    meter_id: int
    customer_id: int
    workspace_id: int | None
    start_at: datetime
    dimensions: dict[str, str | None]
    dimensions_key: str
    stored_quantity: Decimal | None  # None: no such window is stored.
    stored_count: int | None
    quantity: Decimal
    event_count: int


def replay_span(
    customer: Customer | None = None, start: datetime | None = None, end: datetime | None = None
) -> Period | None:
    """Return the hours to replay: those asked for, or all that hold events or windows.

    Raises:
        Invalid: bounds inside an hour, or in the wrong order.
        MonthArchived: both bounds are given, and a month between them is archived.
    """
    if any(bound is not None and hour_of(bound) != bound for bound in (start, end)):
        raise Invalid("start and end are whole UTC hours")
    if start is not None and end is not None:
        refuse_archived(start, end)
    first, last = _known(customer)
    begin = start if start is not None else first
    over = end if end is not None else last
    if begin is None or over is None:
        return None
    if over <= begin:
        if start is None or end is None:
            return None
        raise Invalid("start comes before end")
    return Period(begin, over)


def chunks(period: Period, customer: Customer | None = None) -> list[Span]:
    """Cut a period into months, and the customers into groups; archived months are left out."""
    if customer is not None:
        ids = [customer.pk]
    else:
        ids = list(Customer.objects.order_by("pk").values_list("pk", flat=True))
    groups = [tuple(ids[i : i + CUSTOMERS]) for i in range(0, len(ids), CUSTOMERS)]
    last = (period.end - HOUR).astimezone(UTC).date()
    archived = archived_starts()
    return [
        Span(max(period.start, midnight(first)), min(period.end, midnight(following)), group)
        for first, following in months_between(period.start.astimezone(UTC).date(), last)
        if midnight(first) not in archived
        for group in groups
    ]


def replay_chunk(span: Span, rules: Sequence[MeterRule] | None = None) -> list[Difference]:
    """Read the windows of a chunk anew and return where the stored ones differ, by key."""
    readers = meter_rules() if rules is None else list(rules)
    with _scratch(), connection.cursor() as cursor:
        for _, versions in groupby(readers, key=lambda rule: rule.id):
            query = replay(list(versions), span)
            cursor.execute(query.text, query.params)
        query = differences(readers, span)
        cursor.execute(query.text, query.params)
        rows = cursor.fetchall()
    return [_difference(row) for row in rows]


def _known(customer: Customer | None) -> tuple[datetime | None, datetime | None]:
    """Return the hours from the first to the last event or window."""
    windows, batches = UsageWindow.objects.all(), EventBatch.objects.all()
    if customer is not None:
        windows = windows.filter(customer=customer)
    stored = windows.aggregate(first=Min("start_at"), last=Max("start_at"))
    sent = batches.aggregate(first=Min("first_timestamp"), last=Max("last_timestamp"))
    firsts = [row["first"] for row in (stored, sent) if row["first"] is not None]
    lasts = [row["last"] for row in (stored, sent) if row["last"] is not None]
    if not firsts:
        return None, None
    return hour_of(min(firsts)), hour_of(max(lasts)) + HOUR


@contextmanager
def _scratch() -> Iterator[None]:
    """Open one state of the database with an empty scratch table, and leave nothing behind."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        with connection.cursor() as cursor:
            if is_outermost:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute(SCRATCH)
        yield
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE replayed_window")


def _difference(row: Sequence[object]) -> Difference:
    *key, dimensions, dimensions_key, quantity, count, said, said_count = row
    content = json.loads(str(dimensions))
    return Difference(*key, content, dimensions_key, quantity, count, said, said_count)  # type: ignore[arg-type,call-arg]
