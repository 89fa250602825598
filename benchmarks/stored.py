"""Batches over HTTP into a full store (20 million events) beside the same into an empty one.

Identifiers are random, so that every claim lands anywhere in the index.
"""

import os
import threading
import time
from datetime import UTC, datetime, timedelta

from django.db import connection

from benchmarks.capture import send
from benchmarks.traffic import CUSTOMERS, events, middle, runs, server, set_up
from metering.services.storing import ensure_partitions

STORED = int(os.environ.get("STORED_EVENTS", "20000000"))
EVENTS = int(os.environ.get("STORED_SENT", "200000"))
ROUNDS = int(os.environ.get("STORED_ROUNDS", "3"))
_CHUNK = 500_000
_WRITERS = 2
_KEY = "event_identity_pkey"
_FILL = """
WITH batch AS (
    INSERT INTO event_batch (received_at, event_count, first_event_id, last_event_id,
                             first_timestamp, last_timestamp, aggregated_at)
    VALUES (%(start)s, %(count)s, %(first)s, %(first)s + %(count)s - 1, %(start)s,
            %(start)s + %(count)s * interval '1 millisecond', %(start)s)
    RETURNING id
), row AS MATERIALIZED (
    SELECT n AS id, 1 + n %% %(customers)s AS customer_id, md5(n::text) AS identifier,
           %(start)s + (n - %(first)s) * interval '1 millisecond' AS moment
    FROM generate_series(%(first)s, %(first)s + %(count)s - 1) n
), claimed AS (
    INSERT INTO event_identity (customer_id, identifier, content_sha256, event_id, "timestamp")
    SELECT customer_id, identifier, sha256(identifier::bytea), id, moment FROM row
)
INSERT INTO meter_event (id, customer_id, event_name, identifier, "timestamp", properties,
                         received_at, batch_id)
SELECT r.id, r.customer_id, 'llm_request', r.identifier, r.moment,
       jsonb_build_object('model', 'gpt-5.4', 'input_tokens', (r.id %% 977)::text,
                          'cached_input_tokens', (r.id %% 512)::text,
                          'output_tokens', (r.id %% 331)::text),
       %(start)s, b.id
FROM row r CROSS JOIN batch b
"""


def run() -> None:
    """Measure, and print one line a figure."""
    key = set_up()
    start = datetime.now(UTC) - timedelta(days=1)
    with server() as running:
        empty = [send(events(EVENTS, start), key, duplicates=0) for _ in range(ROUNDS)]
        begin = time.perf_counter()
        _fill(start)
        seconds = time.perf_counter() - begin
        # The first events after a checkpoint write whole pages; then the rate is what it stays.
        full = [send(events(EVENTS, start), key, duplicates=0) for _ in range(2 * ROUNDS)]
        megabytes = running.megabytes()
    print(f"into an empty store: {middle(empty):,.0f}/s (runs: {runs(empty)})")
    print(f"with {STORED:,} stored: {middle(full):,.0f}/s (runs: {runs(full)})")
    print(f"  ratio: {middle(full) / middle(empty):.0%}; server process: {megabytes} MiB")
    print(f"  (filled in {seconds:,.0f} s)")


def _fill(start: datetime) -> None:
    """Store events as capture does, the key of identities built once at the end."""
    ensure_partitions([start, start + timedelta(minutes=_CHUNK // 60_000 + 1)])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval('meter_event_id_seq', nextval('meter_event_id_seq') + %s)", [STORED]
        )
        first = cursor.fetchone()[0] - STORED
        cursor.execute(f"ALTER TABLE event_identity DROP CONSTRAINT {_KEY}")
    starts = list(range(first, first + STORED, _CHUNK))
    writers = [
        threading.Thread(target=_write, args=(starts[number::_WRITERS], first + STORED, start))
        for number in range(_WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE event_identity ADD CONSTRAINT {_KEY}"
            " PRIMARY KEY (customer_id, identifier)"
        )
        cursor.execute("VACUUM ANALYZE event_identity, meter_event")
        cursor.execute("CHECKPOINT")


def _write(starts: list[int], end: int, start: datetime) -> None:
    try:
        for first in starts:
            words: dict[str, int | datetime] = {
                "first": first,
                "count": min(_CHUNK, end - first),
                "start": start,
                "customers": CUSTOMERS,
            }
            with connection.cursor() as cursor:
                cursor.execute(_FILL, words)
    finally:
        connection.close()
