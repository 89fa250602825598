"""Durable events a second over HTTP in batches of 1,000, beside a bare COPY of the same rows.

Server (two processes), PostgreSQL with fsync on and the load generator share the machine.
Then the same with 30 % of the events sent before.
"""

import json
import os
import random
from datetime import UTC, datetime, timedelta

from benchmarks import ceiling, load
from benchmarks.traffic import (
    BATCH,
    PORT,
    Event,
    batches,
    events,
    middle,
    runs,
    server,
    set_up,
)

EVENTS = int(os.environ.get("CAPTURE_EVENTS", "200000"))
ROUNDS = int(os.environ.get("CAPTURE_ROUNDS", "3"))
CONNECTIONS = 8  # The kernel deals them to the two processes by chance; one is seldom left out.
REPEATED = 30  # Hundredths.


def run() -> None:
    """Measure, and print one line a figure."""
    key = set_up()
    ceiling.make_tables()
    over_http, repeated, by_copy = [], [], []
    with server() as running:
        for number in range(ROUNDS):
            start = datetime.now(UTC) - timedelta(days=1)
            fresh = events(EVENTS, start)
            over_http.append(send(fresh, key, duplicates=0))
            by_copy.append(ceiling.copy_rate(fresh, 1 + number * EVENTS))
            again = random.sample(fresh, EVENTS * REPEATED // 100)
            mixed = events(EVENTS - len(again), start) + again
            random.shuffle(mixed)
            repeated.append(send(mixed, key, duplicates=len(again)))
        megabytes = running.megabytes()
    ours, bare, with_repeats = middle(over_http), middle(by_copy), middle(repeated)
    print(f"events over HTTP, batches of {BATCH:,}: {ours:,.0f}/s (runs: {runs(over_http)})")
    print(f"  bare COPY of the same rows, same keys: {bare:,.0f}/s (runs: {runs(by_copy)})")
    print(f"  ratio to the ceiling: {ours / bare:.0%}; server process: {megabytes} MiB")
    print(f"with {REPEATED} % sent before: {with_repeats:,.0f}/s (runs: {runs(repeated)})")
    print(f"  ratio to all new: {with_repeats / ours:.0%}")
    print(
        "  published: Stripe 1,000 calls/s, 10,000 events/s by stream; Orb tens of millions a day"
    )


def send(found: list[Event], key: str, *, duplicates: int) -> float:
    """Send events in batches and return how many a second were answered.

    Raises:
        SystemExit: an event was neither stored nor known.
    """
    requests = [load.post("/v1/events", body, key) for body in batches(found)]
    outcome = load.send_all(requests, PORT, CONNECTIONS)
    answers = [json.loads(answer) for answer in outcome.answers]
    stored = sum(answer["accepted"] for answer in answers)
    known = sum(answer["duplicates"] for answer in answers)
    if (stored, known) != (len(found) - duplicates, duplicates):
        raise SystemExit(f"sent {len(found)}: {stored} stored, {known} known before")
    return len(found) / outcome.seconds
