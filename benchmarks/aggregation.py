"""Backlog brought into usage windows, events a second, beside a bare INSERT ... GROUP BY of it.

Three sum meters of one event name by model, 200 customers, batches of 1,000 events within a few
hours. The ceiling sums the same events by customer, hour and model in one statement, and nothing
else: no windows, no adjustments, no check that a value is a quantity, no note for rating.
"""

import os
import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.db import connection

from benchmarks.filling import fill
from benchmarks.setting import METERS, make_meters
from metering.services.aggregate import aggregate_batches

BATCHES = int(os.environ.get("AGGREGATION_BATCHES", "400"))
SIZE = int(os.environ.get("AGGREGATION_BATCH", "1000"))
ROUNDS = int(os.environ.get("AGGREGATION_ROUNDS", "3"))
CUSTOMERS = int(os.environ.get("AGGREGATION_CUSTOMERS", "200"))
HOURS = int(os.environ.get("AGGREGATION_HOURS", "3"))
WORKERS = int(os.environ.get("AGGREGATION_WORKERS", "1"))

_SCRATCH = """
CREATE UNLOGGED TABLE bench_window (customer_id bigint, start_at timestamptz, model text,
                                    {columns})
"""
_CEILING = """
INSERT INTO bench_window
SELECT customer_id, date_trunc('hour', "timestamp", 'UTC'), properties ->> 'model', {sums}
FROM meter_event WHERE id BETWEEN %s AND %s GROUP BY 1, 2, 3
"""


def run() -> None:
    """Measure, and print one line a figure."""
    make_meters([f"c-{number}" for number in range(CUSTOMERS)])
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS)
    columns = ", ".join(f"{meter} numeric" for meter in METERS)
    with connection.cursor() as cursor:
        cursor.execute(_SCRATCH.format(columns=columns))
    ours, ceiling = [], []
    for _ in range(ROUNDS):
        fill(batches=BATCHES, size=SIZE, customers=CUSTOMERS, start=start, hours=HOURS)
        first, last = _settle()
        ours.append(_rate(_aggregate_all))
        ceiling.append(_rate(lambda first=first, last=last: _sum_bare(first, last)))  # type: ignore[misc]
    _check(len(ours))
    middle, bare = statistics.median(ours), statistics.median(ceiling)
    print(f"backlog into usage windows, {WORKERS} workers: {middle:,.0f} events/s ({_runs(ours)})")
    print(f"bare INSERT ... GROUP BY of the same events: {bare:,.0f}/s ({_runs(ceiling)})")
    print(
        f"ratio to the ceiling: {middle / bare:.0%}; to the goal of 100,000/s: {middle / 1e5:.0%}"
    )


def _settle() -> tuple[int, int]:
    """Let what was filled be as a live table is: analysed, and on disk. Return its ids."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) meter_event")
        cursor.execute("ANALYZE event_batch")
        cursor.execute("CHECKPOINT")
        cursor.execute(
            "SELECT min(first_event_id), max(last_event_id) FROM event_batch"
            " WHERE aggregated_at IS NULL"
        )
        first, last = cursor.fetchone()
    return first, last


def _rate(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return BATCHES * SIZE / (time.perf_counter() - begin)


def _aggregate_all() -> None:
    workers = [threading.Thread(target=_aggregate) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _aggregate() -> None:
    try:
        while aggregate_batches(at=datetime.now(UTC)):
            pass
    finally:
        connection.close()


def _sum_bare(first: int, last: int) -> None:
    sums = ", ".join(f"sum((properties ->> '{meter}')::numeric)" for meter in METERS)
    with connection.cursor() as cursor:
        cursor.execute(_CEILING.format(sums=sums), [first, last])


def _check(rounds: int) -> None:
    """Refuse figures of an aggregator that lost or doubled anything."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(event_count), sum(quantity) FROM usage_window")
        count, quantity = cursor.fetchone()
        cursor.execute(f"SELECT sum({' + '.join(METERS)}) FROM bench_window")
        expected = cursor.fetchone()[0]
    if count != rounds * BATCHES * SIZE * len(METERS) or quantity != expected:
        raise SystemExit(f"{count} events of {quantity} tokens in windows, not {expected}")


def _runs(figures: list[float]) -> str:
    return "runs: " + ", ".join(f"{figure:,.0f}" for figure in figures)
