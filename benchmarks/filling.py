"""Store batches of events by SQL, as capture leaves them: waiting to be aggregated."""

from datetime import datetime, timedelta

from django.db import connection, transaction

from benchmarks.setting import EVENT_NAME, MODELS

_FILL = """
WITH batch AS (
    INSERT INTO event_batch (received_at, event_count, first_event_id, last_event_id,
                             first_timestamp, last_timestamp)
    SELECT clock_timestamp(), %(size)s, %(first)s + b * %(size)s,
           %(first)s + (b + 1) * %(size)s - 1, %(start)s,
           %(start)s + %(hours)s * interval '1 hour'
    FROM generate_series(0, %(batches)s - 1) b ORDER BY b
    RETURNING id, received_at, first_event_id
)
INSERT INTO meter_event (id, customer_id, event_name, identifier, "timestamp", properties,
                         received_at, batch_id)
SELECT b.first_event_id + n, 1 + (b.first_event_id + n) %% %(customers)s, %(event)s,
       'fill-' || (b.first_event_id + n),
       %(start)s + ((b.first_event_id + n) * 7919 %% (%(hours)s * 3600)) * interval '1 second',
       jsonb_build_object('model', (%(models)s::text[])[1 + (n / 7) %% 2],
                          'input_tokens', (1000 + n %% 977)::text,
                          'cached_input_tokens', (n %% 512)::text,
                          'output_tokens', (n %% 331)::text),
       b.received_at, b.id
FROM batch b CROSS JOIN generate_series(0, %(size)s - 1) n
"""


def fill(*, batches: int, size: int, customers: int, start: datetime, hours: int) -> None:
    """Store batches whose events lie within a few hours, spread evenly over the customers.

    Args:
        customers: Their ids are 1 to this number.
        start: A whole hour.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        for month in {start.date(), (start + timedelta(hours=hours)).date()}:
            cursor.execute("SELECT meter_event_ensure_partition(%s)", [month])
        cursor.execute("SELECT nextval('meter_event_id_seq')")
        words = {
            "batches": batches, "size": size, "customers": customers, "start": start,
            "hours": hours, "event": EVENT_NAME, "models": list(MODELS),
            "first": cursor.fetchone()[0],
        }  # fmt: skip
        cursor.execute(_FILL, words)
        cursor.execute("SELECT setval('meter_event_id_seq', max(last_event_id)) FROM event_batch")
