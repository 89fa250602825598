"""A customer's range of half a million events replaced: uploaded, previewed, applied, reverted.

Of the stored events a tenth is left out and a fifth is amended; a tenth as many are new. Everything
is rated, before and after. The ceiling joins the same rows and writes the same adjustments and
events into bare tables with the same keys: no windows, no rating, no sha256 of the range.
"""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from benchmarks.filling import fill
from benchmarks.setting import METERS, make_market
from billing_project.kernel.models import User
from billing_project.kernel.period import hour_of
from credits.services.rating import rate_customer, rate_pending
from metering.events import EventInput
from metering.models import Backfill, Customer, MeterEvent, UsageWindow
from metering.services.aggregate import aggregate_batches
from metering.services.backfilling import carry_out, revert_backfill
from metering.services.backfills import Line, add_backfill_lines, start_backfill
from metering.services.planning import Counts
from metering.services.previewing import try_backfill
from metering.services.retrying import atomic_with_retries

EVENTS = int(os.environ.get("BACKFILL_EVENTS", "500000"))
HOURS = int(os.environ.get("BACKFILL_HOURS", "24"))
_SIZE = 1_000  # Events of a batch; lines of a chunk, as the worker reads them.
_BARE = """
CREATE TABLE bench_adjustment (LIKE meter_event_adjustment INCLUDING ALL);
CREATE TABLE bench_event (LIKE meter_event INCLUDING ALL);
CREATE TABLE bench_identity (LIKE event_identity INCLUDING ALL);
"""
_ADJUST_BARE = """
INSERT INTO bench_adjustment (id, customer_id, identifier, event_id, "timestamp", type, properties,
                              reason, created_by_id, created_at, backfill_id, generation)
SELECT e.id, e.customer_id, e.identifier, e.id, e."timestamp",
       CASE WHEN b.id IS NULL THEN 'cancel' ELSE 'amend' END, b.properties, 'x', 1, now(),
       %(backfill)s, 0
FROM meter_event e LEFT JOIN backfill_event b
  ON b.backfill_id = %(backfill)s AND b.identifier = e.identifier
WHERE b.properties IS DISTINCT FROM e.properties
"""
_ADD_BARE = """
WITH added AS (
    INSERT INTO bench_event (id, customer_id, event_name, identifier, "timestamp", properties,
                             received_at, batch_id)
    SELECT b.id, 1, b.event_name, b.identifier, b."timestamp", b.properties, now(), 0
    FROM backfill_event b LEFT JOIN meter_event e ON e.identifier = b.identifier
    WHERE b.backfill_id = %(backfill)s AND e.id IS NULL
    RETURNING id, customer_id, identifier, "timestamp"
)
INSERT INTO bench_identity (customer_id, identifier, content_sha256, event_id, "timestamp")
SELECT customer_id, identifier, ''::bytea, id, "timestamp" FROM added
"""


def run() -> None:
    """Measure, and print one line a figure."""
    make_market(["c-0"])
    by, customer = User.objects.get(username="bench"), Customer.objects.get()
    start = hour_of(datetime.now(UTC)) - timedelta(hours=HOURS)
    fill(batches=EVENTS // _SIZE, size=_SIZE, customers=1, start=start, hours=HOURS)
    aggregate_batches(at=datetime.now(UTC))
    rate_pending(by=by, at=datetime.now(UTC))
    backfill = start_backfill(
        customer=customer, start_at=start, end_at=start + timedelta(hours=HOURS), reason="bench",
        by=by, at=datetime.now(UTC),
    )  # fmt: skip
    upload = _upload(backfill, by)
    _execute("VACUUM ANALYZE", {})
    ceiling = _bare(backfill)
    preview, seen = _seconds(lambda: _preview(backfill, by))
    apply, counts = _seconds(lambda: _apply(backfill, by))
    if seen != counts or counts.amend == 0:
        raise SystemExit(f"previewed {seen}, applied {counts}")
    _tell(counts, upload, preview, apply, ceiling)
    before = _quantities()
    Backfill.objects.filter(pk=backfill.pk).update(
        state="applied", applied_by=by, applied_at=datetime.now(UTC)
    )
    revert, _ = _seconds(lambda: _revert(backfill, by))
    print(f"revert, rated: {revert:.1f} s; ratio to the ceiling {ceiling / revert:.0%}")
    if _quantities() == before:
        raise SystemExit("the revert changed nothing")


def _tell(counts: Counts, upload: float, preview: float, apply: float, ceiling: float) -> None:
    words = f"{counts.changed:,} changed ({counts.add:,} added, {counts.amend:,} amended,"
    print(f"{EVENTS:,} stored events, {words} {counts.cancel:,} cancelled), {counts.keep:,} kept")
    print(f"lines taken in: {EVENTS / upload:,.0f}/s, {upload:.1f} s")
    print(f"the same rows joined and written bare: {ceiling:.1f} s")
    for name, seconds in (("preview, rated and taken back", preview), ("apply, rated", apply)):
        print(f"{name}: {seconds:.1f} s; ratio to the ceiling {ceiling / seconds:.0%}")


def _upload(backfill: Backfill, by: User) -> float:
    """Take the lines in; return seconds, without those that it took to make them."""
    seconds = 0.0
    for lines in _lines():
        took, _ = _seconds(
            lambda lines=lines: add_backfill_lines(  # type: ignore[misc]
                backfill=backfill, lines=lines, by=by, at=datetime.now(UTC)
            )
        )
        seconds += took
    return seconds


def _lines() -> Iterator[list[Line]]:
    rows = MeterEvent.objects.order_by("pk").values_list(
        "pk", "event_name", "identifier", "timestamp", "properties"
    )
    lines: list[Line] = []
    for number, (pk, name, identifier, moment, said) in enumerate(rows.iterator(_SIZE), start=1):
        part = pk % 10
        properties = {**said, METERS[2]: "5"} if part in (1, 2) else said
        sent = f"new-{pk}" if part == 0 else identifier  # The old one is left out.
        event = EventInput(
            event_name=name, identifier=sent, customer="c-0", timestamp=moment,
            properties=properties,
        )  # fmt: skip
        lines.append(Line(number, event))
        if len(lines) == _SIZE:
            yield lines
            lines = []
    if lines:
        yield lines


def _bare(backfill: Backfill) -> float:
    _execute(_BARE, None)

    def write() -> None:
        for text in (_ADJUST_BARE, _ADD_BARE):
            _execute(text, {"backfill": backfill.pk})

    return _seconds(write)[0]


def _preview(backfill: Backfill, by: User) -> Counts:
    at = datetime.now(UTC)

    def rate() -> None:
        rate_customer(customer_id=backfill.customer_id, by=by, at=at)

    return try_backfill(backfill=backfill, by=by, at=at, measure=rate).carried.counts


@atomic_with_retries
def _apply(backfill: Backfill, by: User) -> Counts:
    at = datetime.now(UTC)
    counts = carry_out(backfill, by, at).counts
    rate_customer(customer_id=backfill.customer_id, by=by, at=at)
    return counts


def _revert(backfill: Backfill, by: User) -> None:
    at = datetime.now(UTC)
    revert_backfill(backfill=backfill, reason="bench", by=by, at=at)
    rate_customer(customer_id=backfill.customer_id, by=by, at=at)


def _quantities() -> list[Any]:
    return list(UsageWindow.objects.order_by("pk").values_list("pk", "quantity"))


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    found = work()
    return time.perf_counter() - begin, found


def _execute(text: str, params: dict[str, int] | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text, params)
