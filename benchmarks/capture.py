"""Durable events a second over HTTP in batches of 1,000, beside a bare COPY of the same rows.

Server (two gunicorn processes), PostgreSQL with fsync on and the load generator share the machine.
"""

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO

from django.core.management import call_command
from django.db import connection, transaction

from benchmarks import load
from billing_project.console import processes
from billing_project.console.demo.database import make_fresh_database
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from metering.models import Aggregation
from metering.services.customers import create_customer
from metering.services.meters import create_meter

PORT, BATCH, BATCHES, CLIENTS, CUSTOMERS = 8765, 1_000, 200, 4, 200
ROUNDS = 3
Row = tuple[int, int, str, str, str]  # Id, customer, identifier, timestamp, properties.


def run() -> None:
    """Measure, and print one line a figure."""
    key = set_up()
    start = datetime.now(UTC) - timedelta(days=1)
    over_http, by_copy = [], []
    _make_ceiling_tables()
    with server():
        for round_number in range(ROUNDS):
            bodies, rows = list(_bodies(round_number, start)), _rows(round_number, start)
            over_http.append(_rate(partial(_send_all, bodies, key)))
            by_copy.append(_rate(partial(_copy_all, rows, start)))
    ours, ceiling = middle(over_http), middle(by_copy)
    print(f"events over HTTP, batches of {BATCH:,}: {ours:,.0f}/s (runs: {runs(over_http)})")
    print(f"bare COPY of the same rows, same keys: {ceiling:,.0f}/s (runs: {runs(by_copy)})")
    print(f"ratio to the ceiling: {ours / ceiling:.0%}")
    print("published: Stripe 1,000 calls/s, 10,000 events/s by stream")


@contextmanager
def server() -> Iterator[int]:
    """Run the HTTP server as `manage.py serve` does, and yield its port."""
    with processes.running(processes.server_command(PORT), "bench-server") as process:
        processes.wait_until_ready(process, PORT)
        yield PORT


def set_up() -> str:
    """Make a fresh database with customers and meters, and return an API key."""
    make_fresh_database()
    at = datetime.now(UTC)
    call_command("setup_roles", stdout=StringIO())
    engineer = User.objects.create_user("bench")
    for code in ("input_tokens", "cached_input_tokens", "output_tokens"):
        create_meter(
            code=code, name=code, event_name="llm_request", aggregation=Aggregation.SUM,
            value_property=code, dimensions=("model",), unit="token", by=engineer, at=at,
        )  # fmt: skip
    for number in range(CUSTOMERS):
        create_customer(
            external_id=f"c-{number}", name=f"C {number}", currency="USD", by=engineer, at=at
        )
    return create_api_key(name="bench", scopes=["events:write"], at=at)[1]


def events(round_number: int, batch: int, start: datetime) -> Iterator[dict[str, object]]:
    """Yield the events of one batch; no identifier comes twice in a run."""
    for n in range(BATCH):
        serial = batch * BATCH + n
        yield {
            "event_name": "llm_request",
            "identifier": f"r{round_number}-{serial * 7919 % 1_000_003}-{serial}",
            "customer": f"c-{serial % CUSTOMERS}",
            "timestamp": (start + timedelta(milliseconds=serial)).isoformat(),
            "properties": {
                "model": ("gpt-5.4", "claude-haiku-4-5")[serial % 2],
                "input_tokens": str(1000 + serial % 977),
                "cached_input_tokens": str(serial % 512),
                "output_tokens": str(serial % 331),
            },
        }


def _bodies(round_number: int, start: datetime) -> Iterator[bytes]:
    for batch in range(BATCHES):
        yield json.dumps({"events": list(events(round_number, batch, start))}).encode()


def _rate(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return BATCHES * BATCH / (time.perf_counter() - begin)


def _send_all(bodies: list[bytes], key: str) -> None:
    requests = [load.post("/v1/events", body, key) for body in bodies]
    answers = load.send_all(requests, PORT, CLIENTS).answers
    refused = [answer for answer in answers if json.loads(answer)["accepted"] != BATCH]
    if refused:
        raise SystemExit(f"not every event was accepted: {refused[0].decode()}")


def _rows(round_number: int, start: datetime) -> list[list[Row]]:
    """Make what COPY writes beforehand, as the bodies are, so that only writing is timed."""
    batches = []
    for batch in range(BATCHES):
        base = (round_number * BATCHES + batch) * BATCH
        batches.append(
            [
                (
                    base + n, int(str(event["customer"])[2:]), str(event["identifier"]),
                    str(event["timestamp"]), json.dumps(event["properties"]),
                )
                for n, event in enumerate(events(round_number, batch, start))
            ]
        )  # fmt: skip
    return batches


def _make_ceiling_tables() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_identity (LIKE event_identity INCLUDING ALL)")
        cursor.execute(
            "CREATE TABLE bench_event (LIKE meter_event INCLUDING DEFAULTS,"
            ' PRIMARY KEY (id, customer_id, "timestamp"))'
        )
        cursor.execute('CREATE INDEX bench_time ON bench_event (customer_id, "timestamp")')


def _copy_all(batches: list[list[Row]], start: datetime) -> None:
    """COPY the same rows into tables with the same keys, one transaction a batch."""
    half = len(batches) // 2
    writers = [
        threading.Thread(target=_copy_batches, args=(part, start))
        for part in (batches[:half], batches[half:])
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()


def _copy_batches(batches: list[list[Row]], start: datetime) -> None:
    try:
        for number, rows in enumerate(batches):
            with transaction.atomic(), connection.cursor() as cursor:
                with cursor.copy(
                    "COPY bench_identity (customer_id, identifier, content_sha256, event_id,"
                    ' "timestamp") FROM STDIN'
                ) as copy:
                    for pk, customer, identifier, moment, _ in rows:
                        copy.write_row((customer, identifier, b"\0" * 32, pk, moment))
                with cursor.copy(
                    "COPY bench_event (id, customer_id, event_name, identifier,"
                    ' "timestamp", properties, received_at, batch_id) FROM STDIN'
                ) as copy:
                    for pk, customer, identifier, moment, properties in rows:
                        copy.write_row(
                            (pk, customer, "llm_request", identifier, moment, properties,
                             start, number)
                        )  # fmt: skip
    finally:
        connection.close()


def middle(figures: list[float]) -> float:
    """Return the median of the rounds."""
    return statistics.median(figures)


def runs(figures: list[float]) -> str:
    """Write the figure of each round."""
    return ", ".join(f"{figure:,.0f}" for figure in figures)
