"""Claim identities and store events: one statement for a batch, whatever its size."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from django.db import connection, transaction

from metering.aggregation import Properties
from metering.exact import write_json
from metering.models import Workspace

Key = tuple[int, str]  # Customer's id, identifier.

_known_months: set[date] = set()  # Months whose partition is committed; they are never dropped.

# The claim is sorted, so that two batches which share keys wait for each other instead of
# deadlocking. Whoever waits sees the other's row as a conflict and stores nothing.
_STORE = """
WITH input AS MATERIALIZED (
    SELECT nextval('meter_event_id_seq') AS id, r.*
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
        n integer, customer_id bigint, workspace_id bigint, event_name text, identifier text,
        "timestamp" timestamptz, sha256 text, properties jsonb)
), claimed AS (
    INSERT INTO event_identity (customer_id, identifier, content_sha256, event_id, "timestamp")
    SELECT customer_id, identifier, decode(sha256, 'hex'), id, "timestamp" FROM input
    ORDER BY customer_id, identifier
    ON CONFLICT DO NOTHING
    RETURNING event_id
), batch AS MATERIALIZED (
    SELECT nextval('event_batch_id_seq') AS id WHERE EXISTS (SELECT FROM claimed)
), stored AS (
    INSERT INTO meter_event (id, customer_id, workspace_id, event_name, identifier, "timestamp",
                             properties, received_at, batch_id)
    SELECT i.id, i.customer_id, i.workspace_id, i.event_name, i.identifier, i."timestamp",
           i.properties, %(at)s, b.id
    FROM input i JOIN claimed c ON c.event_id = i.id CROSS JOIN batch b
    RETURNING id, "timestamp"
), summed AS (
    INSERT INTO event_batch (id, received_at, event_count, first_event_id, last_event_id,
                             first_timestamp, last_timestamp)
    SELECT b.id, %(at)s, count(*), min(s.id), max(s.id), min(s."timestamp"), max(s."timestamp")
    FROM stored s CROSS JOIN batch b GROUP BY b.id
)
SELECT i.n FROM input i JOIN claimed c ON c.event_id = i.id
"""
_LOOK_UP = """
SELECT customer_id, identifier, content_sha256 FROM event_identity
WHERE (customer_id, identifier) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))
"""
_MAKE_WORKSPACES = """
INSERT INTO workspace (customer_id, external_id, name, created_at)
SELECT customer_id, external_id, external_id, %s
FROM unnest(%s::bigint[], %s::text[]) AS r(customer_id, external_id)
ORDER BY customer_id, external_id
ON CONFLICT DO NOTHING
RETURNING id
"""
_FIND_WORKSPACES = """
SELECT customer_id, external_id, id FROM workspace
WHERE (customer_id, external_id) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))
"""


@dataclass(frozen=True)
class NewEvent:
    """One event ready to be stored; its customer and workspace are known."""

    customer_id: int
    workspace_id: int | None
    event_name: str
    identifier: str
    timestamp: datetime
    sha256: bytes
    properties: Properties

    @property
    def key(self) -> Key:
        """What is claimed."""
        return self.customer_id, self.identifier


def store_events(events: Sequence[NewEvent], at: datetime) -> set[Key]:
    """Store the events whose identity nobody claimed before, as one batch.

    Args:
        events: No key twice.

    Returns:
        The keys that were claimed here; the others belong to events stored earlier.
    """
    if not events:
        return set()
    ensure_partitions(event.timestamp for event in events)
    rows = [_row(n, event) for n, event in enumerate(events)]
    with connection.cursor() as cursor:
        cursor.execute(_STORE, {"rows": write_json(rows), "at": at})
        return {events[n].key for (n,) in cursor.fetchall()}


def stored_hashes(keys: Iterable[Key]) -> dict[Key, bytes]:
    """Return the content hashes of those keys that are claimed."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_LOOK_UP, [[pk for pk, _ in wanted], [name for _, name in wanted]])
        return {(pk, name): bytes(sha256) for pk, name, sha256 in cursor.fetchall()}


def ensure_partitions(timestamps: Iterable[datetime]) -> int:
    """Make the monthly partitions that are missing and return their count.

    What is known is remembered only once it is committed.
    """
    months = {moment.astimezone(UTC).date().replace(day=1) for moment in timestamps}
    unknown = sorted(months - _known_months)
    if not unknown:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE meter_event_ensure_partition(month))"
            " FROM unnest(%s::date[]) AS month",
            [unknown],
        )
        made: int = cursor.fetchone()[0]
    transaction.on_commit(lambda: _known_months.update(unknown))
    return made


def ensure_workspaces(names: Iterable[Key], at: datetime) -> dict[Key, int]:
    """Return the ids of customers' workspaces; usage never waits for one to be set up.

    Args:
        names: (customer's id, workspace's external id); one that is missing is made under its own
            id as name, with its history.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    found = _find_workspaces(wanted)
    if missing := [name for name in wanted if name not in found]:
        _make_workspaces(missing, at)
        found.update(_find_workspaces(missing))
    return found


def _find_workspaces(names: Sequence[Key]) -> dict[Key, int]:
    with connection.cursor() as cursor:
        cursor.execute(_FIND_WORKSPACES, [[pk for pk, _ in names], [name for _, name in names]])
        return {(customer_id, name): pk for customer_id, name, pk in cursor.fetchall()}


def _make_workspaces(names: Sequence[Key], at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_MAKE_WORKSPACES, [at, [pk for pk, _ in names], [name for _, name in names]])
        made = [pk for (pk,) in cursor.fetchall()]
    Workspace.history.bulk_history_create(
        list(Workspace.objects.filter(pk__in=made)),
        default_date=at,
        default_change_reason="first used by an event",
    )


def _row(n: int, event: NewEvent) -> dict[str, object]:
    return {
        "n": n,
        "customer_id": event.customer_id,
        "workspace_id": event.workspace_id,
        "event_name": event.event_name,
        "identifier": event.identifier,
        "timestamp": event.timestamp,
        "sha256": event.sha256.hex(),
        "properties": event.properties,
    }
