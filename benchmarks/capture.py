"""Durable events a second over HTTP in batches of 1,000, beside a bare COPY of the same rows.

Server (two gunicorn processes), PostgreSQL with fsync on and the load generator share the machine.
"""

import http.client
import json
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from django.core.management import call_command
from django.db import connection

from billing_project.console import processes
from billing_project.console.demo.database import make_fresh_database
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from metering.models import Aggregation
from metering.services.customers import create_customer
from metering.services.meters import create_meter

PORT, BATCH, BATCHES, CLIENTS, CUSTOMERS = 8765, 1_000, 200, 4, 200
ROUNDS = 3


def run() -> None:
    """Measure, and print one line a figure."""
    key = _set_up()
    start = datetime.now(UTC) - timedelta(days=1)
    over_http, by_copy = [], []
    command = processes.server_command(PORT)
    with processes.running(command, "bench-server") as server:
        processes.wait_until_ready(server, PORT)
        for round_number in range(ROUNDS):
            bodies = list(_bodies(round_number, start))
            over_http.append(_rate(lambda: _send_all(bodies, key)))  # noqa: B023
            by_copy.append(_rate(lambda: _copy_all(round_number, start)))  # noqa: B023
    ours, ceiling = statistics.median(over_http), statistics.median(by_copy)
    print(f"events over HTTP, batches of {BATCH:,}: {ours:,.0f}/s (runs: {_runs(over_http)})")
    print(f"bare COPY of the same rows, same keys: {ceiling:,.0f}/s (runs: {_runs(by_copy)})")
    print(f"ratio to the ceiling: {ours / ceiling:.0%}")
    print("published: Stripe 1,000 calls/s, 10,000 events/s by stream")


def _set_up() -> str:
    make_fresh_database()
    at = datetime.now(UTC)
    call_command("setup_roles", stdout=open("/dev/null", "w"))  # noqa: SIM115
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


def _events(round_number: int, batch: int, start: datetime) -> Iterator[dict[str, object]]:
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
        yield json.dumps({"events": list(_events(round_number, batch, start))}).encode()


def _rate(work: object) -> float:
    begin = time.perf_counter()
    work()  # type: ignore[operator]
    return BATCHES * BATCH / (time.perf_counter() - begin)


def _send_all(bodies: list[bytes], key: str) -> None:
    queue = list(bodies)
    failures: list[object] = []

    def client() -> None:
        link = http.client.HTTPConnection(processes.HOST, PORT, timeout=60)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        while queue:
            try:
                body = queue.pop()
            except IndexError:
                return
            link.request("POST", "/v1/events", body, headers)
            answer = json.load(link.getresponse())
            if answer.get("accepted") != BATCH:
                failures.append(answer)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"not every event was accepted: {failures[0]}")


def _copy_all(round_number: int, start: datetime) -> None:
    """COPY the same rows into tables with the same keys, one transaction a batch."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS bench_identity (LIKE event_identity INCLUDING ALL)"
        )
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS bench_event (LIKE meter_event INCLUDING DEFAULTS,"
            ' PRIMARY KEY (id, customer_id, "timestamp"))'
        )
        cursor.execute(
            'CREATE INDEX IF NOT EXISTS bench_time ON bench_event (customer_id, "timestamp")'
        )
        for batch in range(BATCHES):
            _copy_batch(cursor, round_number, batch, start)


def _copy_batch(cursor: object, round_number: int, batch: int, start: datetime) -> None:
    base = (round_number * BATCHES + batch) * BATCH
    rows = [(base + n, event) for n, event in enumerate(_events(round_number, batch, start))]
    with connection.cursor() as inner:
        inner.execute("BEGIN")
        with inner.copy(  # type: ignore[attr-defined]
            'COPY bench_identity (customer_id, identifier, content_sha256, event_id, "timestamp")'
            " FROM STDIN"
        ) as copy:
            for pk, event in rows:
                copy.write_row(
                    (
                        int(str(event["customer"])[2:]),
                        event["identifier"],
                        b"\0" * 32,
                        pk,
                        event["timestamp"],
                    )
                )
        with inner.copy(  # type: ignore[attr-defined]
            'COPY bench_event (id, customer_id, event_name, identifier, "timestamp", properties,'
            " received_at, batch_id) FROM STDIN"
        ) as copy:
            for pk, event in rows:
                copy.write_row((
                    pk, int(str(event["customer"])[2:]), "llm_request", event["identifier"],
                    event["timestamp"], json.dumps(event["properties"]), start, batch,
                ))  # fmt: skip
        inner.execute("COMMIT")


def _runs(figures: list[float]) -> str:
    return ", ".join(f"{figure:,.0f}" for figure in figures)
