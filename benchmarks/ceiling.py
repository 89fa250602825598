"""A bare COPY of the same rows into tables with the same keys: what PostgreSQL can store at all."""

import json
import threading
import time
from collections.abc import Sequence

from django.db import connection, transaction

from benchmarks.traffic import BATCH, Event

Row = tuple[int, int, str, str, str]  # Id, customer, identifier, timestamp, properties.
_WRITERS = 2


def make_tables() -> None:
    """Make tables like ours, without what guards them."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_identity (LIKE event_identity INCLUDING ALL)")
        cursor.execute(
            "CREATE TABLE bench_event (LIKE meter_event INCLUDING DEFAULTS,"
            ' PRIMARY KEY (id, customer_id, "timestamp"))'
        )
        cursor.execute('CREATE INDEX bench_time ON bench_event (customer_id, "timestamp")')


def copy_rate(events: Sequence[Event], first_id: int) -> float:
    """COPY the events by two writers, a transaction for each 1,000; return events a second."""
    rows = [_row(first_id + n, event) for n, event in enumerate(events)]  # Made beforehand.
    parts = [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]
    writers = [
        threading.Thread(target=_copy, args=(parts[number::_WRITERS],))
        for number in range(_WRITERS)
    ]
    begin = time.perf_counter()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return len(rows) / (time.perf_counter() - begin)


def _row(pk: int, event: Event) -> Row:
    return (
        pk, int(str(event["customer"])[2:]), str(event["identifier"]), str(event["timestamp"]),
        json.dumps(event["properties"]),
    )  # fmt: skip


def _copy(parts: Sequence[Sequence[Row]]) -> None:
    try:
        for rows in parts:
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
                            (pk, customer, "llm_request", identifier, moment, properties, moment, 1)
                        )
    finally:
        connection.close()
