"""Seals of an archived month as SQL text: a count and a sum of hashes over rows in any order.

Pure. What stays in the database (identities, batches, adjustments, windows) is sealed when the
month's events leave; the books compare the same seals ever after. Where rows and events say the
same, both are sealed and must agree before anything leaves.

Rows that were found in a file are a parameter, `archived`, and read like the table that they left.
"""

# In place of `meter_event`.
ARCHIVED_EVENTS = """(
    SELECT r.id, r.customer_id, r.workspace_id, r.event_name, r.identifier, r."timestamp",
           r.properties::jsonb AS properties, r.received_at, r.batch_id
    FROM jsonb_to_recordset(%(archived)s::jsonb) AS r(
        id bigint, customer_id bigint, workspace_id bigint, event_name text, identifier text,
        "timestamp" timestamptz, properties text, received_at timestamptz, batch_id bigint)
)"""
# In place of the view `used_meter_event`, which says the same of events that are not archived.
USED_ARCHIVED_EVENTS = f"""(
    SELECT e.id, e.customer_id, e.workspace_id, e.event_name, e.identifier, e."timestamp",
           coalesce(a.properties, e.properties) AS properties, e.received_at, e.batch_id,
           a.type IS NOT NULL AS is_adjusted
    FROM {ARCHIVED_EVENTS} e
    LEFT JOIN LATERAL (
        SELECT type, properties FROM meter_event_adjustment WHERE event_id = e.id
        ORDER BY id + 0 DESC LIMIT 1
    ) a ON true
    WHERE a.type IS DISTINCT FROM 'cancel'
)"""  # noqa: S608 - texts of this module

BATCHES_OF_EVENTS = """
SELECT batch_id, count(*) AS event_count, min(id) AS first_event_id, max(id) AS last_event_id,
       min("timestamp") AS first_timestamp, max("timestamp") AS last_timestamp
FROM meter_event WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s GROUP BY batch_id
"""
# Batches whose events are all of the month.
_WHOLE = """
SELECT id FROM event_batch WHERE first_timestamp >= %(start)s AND last_timestamp < %(end)s
"""
SEALS = {
    "identities": """
        SELECT count(*), coalesce(sum(archive_hash(concat_ws(
            '|', customer_id, identifier, event_id, archive_micros("timestamp")))), 0)
        FROM event_identity WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s""",
    "batches": """
        SELECT count(*), coalesce(sum(archive_hash(concat_ws(
            '|', id, event_count, first_event_id, last_event_id,
            archive_micros(first_timestamp), archive_micros(last_timestamp)))), 0)
        FROM event_batch WHERE first_timestamp >= %(start)s AND last_timestamp < %(end)s""",
    "adjustments": """
        SELECT count(*), coalesce(sum(archive_hash(concat_ws(
            '|', id, event_id, customer_id, identifier, type, archive_micros("timestamp"),
            properties::text))), 0)
        FROM meter_event_adjustment WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s""",
    "windows": """
        SELECT count(*), coalesce(sum(archive_hash(concat_ws(
            '|', customer_id, meter_id, coalesce(workspace_id, 0), dimensions_key,
            archive_micros(start_at), trim_scale(quantity), event_count))), 0)
        FROM usage_window WHERE start_at >= %(start)s AND start_at < %(end)s""",
}
# The same, as the events say it.
SEALS_OF_EVENTS = {
    "identities": """
        SELECT count(*), coalesce(sum(archive_hash(concat_ws(
            '|', customer_id, identifier, id, archive_micros("timestamp")))), 0)
        FROM meter_event WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s""",
    "batches": f"""
        SELECT count(*), coalesce(sum(archive_hash(concat_ws(
            '|', batch_id, event_count, first_event_id, last_event_id,
            archive_micros(first_timestamp), archive_micros(last_timestamp)))), 0)
        FROM ({BATCHES_OF_EVENTS}) g WHERE batch_id IN ({_WHOLE})""",  # noqa: S608 - texts of this module
    "adjustments": """
        SELECT count(*), coalesce(sum(archive_hash(concat_ws(
            '|', a.id, e.id, e.customer_id, e.identifier, a.type, archive_micros(e."timestamp"),
            a.properties::text))), 0)
        FROM meter_event_adjustment a JOIN meter_event e
          ON e.id = a.event_id AND e.customer_id = a.customer_id AND e."timestamp" = a."timestamp"
        WHERE a."timestamp" >= %(start)s AND a."timestamp" < %(end)s""",
}
# Batches with events of other months too: what this month holds of each.
PARTIAL_BATCHES = f"""
SELECT g.* FROM ({BATCHES_OF_EVENTS}) g WHERE batch_id NOT IN ({_WHOLE}) ORDER BY batch_id
"""  # noqa: S608
BY_CUSTOMER = """
SELECT customer_id, count(*), sum(archive_hash(concat_ws(
    '|', id, coalesce(workspace_id, 0), event_name, identifier, archive_micros("timestamp"),
    archive_micros(received_at), batch_id, properties::text)))
FROM meter_event WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s
GROUP BY customer_id ORDER BY customer_id
"""
BY_METER = """
SELECT m.code, sum(w.quantity)::text, sum(w.event_count)::bigint FROM usage_window w
JOIN meter m ON m.id = w.meter_id
WHERE w.start_at >= %(start)s AND w.start_at < %(end)s GROUP BY m.code ORDER BY m.code
"""
_LIVE = """
NOT EXISTS (SELECT FROM archived_month x
            WHERE x.restored_at IS NULL AND {column} >= x.start_at AND {column} < x.end_at)
"""


def is_live(column: str) -> str:
    """Return the condition that an instant lies in no archived month."""
    return _LIVE.format(column=column)
