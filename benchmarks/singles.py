"""Single events over 64 connections, beside what the same server answers where it does nothing.

Concurrent requests of a process are stored by one transaction; each is answered after its commit.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from benchmarks import capture, load
from billing_project.console import processes

EVENTS, CONNECTIONS, ROUNDS = 6_000, 64, 3
NOTHING = f"GET /healthz HTTP/1.1\r\nHost: {processes.HOST}\r\n\r\n".encode()


def run() -> None:
    """Measure, and print one line a figure."""
    key = capture.set_up()
    start = datetime.now(UTC) - timedelta(days=1)
    rates, tails, ceilings = [], [], []
    with capture.server() as port:
        for number in range(ROUNDS):
            outcome = load.send_all(list(_requests(number, start, key)), port, CONNECTIONS)
            rates.append(outcome.rate)
            tails.append(outcome.quantile(99) * 1000)
            ceilings.append(load.send_all([NOTHING] * EVENTS, port, CONNECTIONS).rate)
    ours, ceiling = capture.middle(rates), capture.middle(ceilings)
    print(f"single events, {CONNECTIONS} connections: {ours:,.0f}/s (runs: {capture.runs(rates)})")
    print(f"  99 % answered within {capture.middle(tails):,.0f} ms (runs: {capture.runs(tails)})")
    print(f"  /healthz of the same server: {ceiling:,.0f}/s; ratio {ours / ceiling:.0%}")
    print("  published: Stripe 1,000 calls/s")


def _requests(number: int, start: datetime, key: str) -> Iterator[bytes]:
    for batch in range(EVENTS // capture.BATCH):
        for event in capture.events(number, batch, start):
            yield load.post("/v1/events", json.dumps(event).encode(), key)
