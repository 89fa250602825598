"""Single events over 64 connections, beside a page of the same server that stores nothing.

The page, /healthz, goes through Django's layers, which a plain event passes by.

Concurrent requests of a process are stored by one transaction; each is answered after its commit.
"""

import json
import os
from datetime import UTC, datetime, timedelta

from benchmarks import load
from benchmarks.traffic import PORT, events, middle, runs, server, set_up
from billing_project.console import processes

EVENTS = int(os.environ.get("SINGLES_EVENTS", "10000"))
ROUNDS = int(os.environ.get("SINGLES_ROUNDS", "3"))
CONNECTIONS = 64
NOTHING = f"GET /healthz HTTP/1.1\r\nHost: {processes.HOST}\r\n\r\n".encode()


def run() -> None:
    """Measure, and print one line a figure."""
    key = set_up()
    rates, tails, ceilings = [], [], []
    with server():
        for _ in range(ROUNDS):
            found = events(EVENTS, datetime.now(UTC) - timedelta(days=1))
            requests = [load.post("/v1/events", json.dumps(event).encode(), key) for event in found]
            outcome = load.send_all(requests, PORT, CONNECTIONS)
            rates.append(outcome.rate)
            tails.append(outcome.quantile(99) * 1000)
            ceilings.append(load.send_all([NOTHING] * EVENTS, PORT, CONNECTIONS).rate)
    ours, ceiling = middle(rates), middle(ceilings)
    print(f"single events, {CONNECTIONS} connections: {ours:,.0f}/s (runs: {runs(rates)})")
    print(f"  99 % answered within {middle(tails):,.0f} ms (runs: {runs(tails)})")
    print(f"  /healthz of the same server: {ceiling:,.0f}/s; ratio {ours / ceiling:.0%}")
    print("  published: Stripe 1,000 calls/s")
