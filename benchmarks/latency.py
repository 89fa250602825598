"""Seconds from the acknowledgement of an event until the balance shows it, under steady load.

Events come over HTTP in batches at a fixed rate for 200 customers. Further customers are markers:
one event of theirs is sent at a known instant, and GET balance is asked until it includes it. The
server, the worker, PostgreSQL with fsync on and the load generator share the machine.
"""

import http.client
import json
import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from benchmarks.cpu import postmaster, seconds_of
from benchmarks.setting import EVENT_NAME, METERS, MODELS, UNIT_PRICE, make_market
from billing_project.console import processes
from billing_project.console.tasks import ensure_schedules, ring_all
from billing_project.kernel.keys import create_api_key

PORT = int(os.environ.get("LATENCY_PORT", "8766"))
RATE = int(os.environ.get("LATENCY_RATE", "5000"))  # Events a second.
SECONDS = int(os.environ.get("LATENCY_SECONDS", "60"))
WARM_SECONDS = int(os.environ.get("LATENCY_WARM_SECONDS", "10"))
BATCH = int(os.environ.get("LATENCY_BATCH", "500"))
CUSTOMERS = int(os.environ.get("LATENCY_CUSTOMERS", "200"))
MARKERS = int(os.environ.get("LATENCY_MARKERS", "8"))
SENDERS, POLL_SECONDS, PATIENCE_SECONDS = 4, 0.1, 60.0


@dataclass
class Seen:
    """What the markers saw: seconds from ack to balance, and answers that claimed too much."""

    seconds: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    missing: int = 0
    untrue: int = 0


def run() -> None:
    """Measure, and print one line a figure."""
    markers = [f"marker-{number}" for number in range(MARKERS)]
    make_market([f"c-{number}" for number in range(CUSTOMERS)] + markers)
    key = create_api_key(name="bench", scopes=["events:write", "usage:read"], at=_now())[1]
    ensure_schedules()
    ring_all()
    with (
        processes.running(
            processes.server_command(PORT), "bench-server", processes.server_environment(PORT)
        ) as server,
        processes.running(processes.worker_command(), "bench-worker") as worker,
    ):
        processes.wait_until_ready(server, PORT)
        roles = {
            "server": server.pid,
            "worker": worker.pid,
            "load": os.getpid(),
            "database": postmaster(),
        }
        _measure(key, markers, roles)


def _measure(key: str, markers: Sequence[str], roles: dict[str, int]) -> None:
    stop, sent, seen = threading.Event(), [0] * SENDERS, Seen()
    begin = time.monotonic()
    senders = [
        threading.Thread(target=_send, args=(key, number, begin, stop, sent))
        for number in range(SENDERS)
    ]
    probes = [threading.Thread(target=_probe, args=(key, name, stop, seen)) for name in markers]
    for thread in senders:
        thread.start()
    time.sleep(WARM_SECONDS)
    before, started = seconds_of(roles), time.monotonic()
    first = sum(sent)
    for thread in probes:
        thread.start()
    time.sleep(SECONDS)
    count, elapsed, after = sum(sent) - first, time.monotonic() - started, seconds_of(roles)
    stop.set()
    for thread in [*probes, *senders]:
        thread.join()
    _print(count / elapsed, seen)
    print(
        "CPU seconds a second: "
        + ", ".join(f"{role} {(after[role] - before[role]) / elapsed:.2f}" for role in roles)
    )
    _print_backlog()


def _print(rate: float, seen: Seen) -> None:
    ordered = sorted(seen.seconds)
    p99 = ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]
    median = statistics.median(ordered)
    print(f"load: {rate:,.0f} events/s acknowledged over {SECONDS} s, {CUSTOMERS} customers")
    print(
        f"ack to balance: p50 {median:.2f} s, p99 {p99:.2f} s, most {ordered[-1]:.2f} s"
        f" ({len(ordered)} markers, {seen.missing} missing)"
    )
    print(f"ratio to the limit of 5 s: {p99 / 5:.0%}")
    print(
        f"lag_seconds told: most {max(seen.lags):.2f}; as_of after an event that the balance"
        f" lacked: {seen.untrue}"
    )


def _send(key: str, number: int, begin: float, stop: threading.Event, sent: list[int]) -> None:
    """Send batches at this sender's share of the rate, by the clock: no wait is forgiven."""
    link = http.client.HTTPConnection(processes.HOST, PORT, timeout=60)
    batch = 0
    while not stop.is_set():
        body = _body(number, batch)
        due = begin + (batch * SENDERS + number) * BATCH / RATE
        if (ahead := due - time.monotonic()) > 0:
            time.sleep(ahead)
        answer = _ask(link, "POST", "/v1/events", key, body)
        if answer.get("accepted") != BATCH:
            raise SystemExit(f"not every event was accepted: {answer}")
        sent[number] += BATCH
        batch += 1


def _body(sender: int, batch: int) -> bytes:
    base = batch * BATCH
    events = [
        _event(f"c-{(base + n) % CUSTOMERS}", f"s{sender}-{base + n}", base + n)
        for n in range(BATCH)
    ]
    return json.dumps({"events": events}).encode()


def _event(customer: str, identifier: str, serial: int) -> dict[str, object]:
    return {
        "event_name": EVENT_NAME,
        "identifier": identifier,
        "customer": customer,
        "timestamp": _now().isoformat(),
        "properties": {
            "model": MODELS[serial // 7 % 2],
            **{meter: str(value) for meter, value in zip(METERS, _values(serial), strict=True)},
        },
    }


def _values(serial: int) -> tuple[int, int, int]:
    return 1000 + serial % 977, serial % 512, serial % 331


def _probe(key: str, name: str, stop: threading.Event, seen: Seen) -> None:
    """Send one event, wait until the balance shows it, and begin anew."""
    link = http.client.HTTPConnection(processes.HOST, PORT, timeout=60)
    expected = Decimal(_balance(link, key, name)[0])
    serial = 0
    while not stop.is_set():
        serial += 1
        event = _event(name, f"{name}-{serial}", serial)
        tokens = sum(_values(serial))
        expected -= tokens * UNIT_PRICE
        _ask(link, "POST", "/v1/events", key, json.dumps({"events": [event]}).encode())
        acked, acked_at = time.monotonic(), _now()
        if not _wait(link, key, name, expected, acked, acked_at, seen):
            return


def _wait(
    link: http.client.HTTPConnection,
    key: str,
    name: str,
    expected: Decimal,
    acked: float,
    acked_at: datetime,
    seen: Seen,
) -> bool:
    while (waited := time.monotonic() - acked) < PATIENCE_SECONDS:
        found, as_of, lag = _balance(link, key, name)
        seen.lags.append(lag)
        if found == expected:
            seen.seconds.append(time.monotonic() - acked)
            return True
        seen.untrue += as_of > acked_at
        time.sleep(POLL_SECONDS)
    seen.missing += 1
    seen.seconds.append(waited)
    return False


def _balance(
    link: http.client.HTTPConnection, key: str, name: str
) -> tuple[Decimal, datetime, float]:
    answer = _ask(link, "GET", f"/v1/customers/{name}/balance", key)
    found = Decimal(answer["balances"][0]["ledger"])
    return found, datetime.fromisoformat(answer["as_of"]), float(answer["lag_seconds"])


def _ask(
    link: http.client.HTTPConnection, method: str, path: str, key: str, body: bytes | None = None
) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    link.request(method, path, body, headers)
    return json.load(link.getresponse())


def _print_backlog() -> None:
    """Say what the books still wait for: recognition has its own pace."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM rated_usage), (SELECT count(*) FROM ledger_transaction),"
            " (SELECT count(*) FROM entry_source),"
            " (SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float"
            "  FROM outbox_message WHERE topic = 'credits_changed')"
        )
        rated, ledger, booked, age = cursor.fetchone()
    print(
        f"rated usage {rated:,}, ledger {ledger:,}, in the books {booked:,};"
        f" the books wait since {age or 0:.1f} s"
    )


def _now() -> datetime:
    return datetime.now(UTC)
