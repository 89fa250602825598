"""Claim identities and store events: one COPY into each table for a batch, whatever its size."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import lru_cache
from operator import itemgetter
from struct import Struct
from typing import NamedTuple

from django.db import IntegrityError, connection, transaction

from metering.models import Workspace
from metering.services.retrying import CAUTION, ClaimedMeanwhile

Key = tuple[int, str]  # Customer's id, identifier.

_KEY = itemgetter(0, 1)
# COPY's binary form, in network order: a tuple's number of fields, then each field's length and
# value. See PostgreSQL's documentation of COPY, "Binary Format".
_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_JSONB_VERSION = 1
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_LENGTH, _ID, _INSTANT_AND_ID = Struct("!i"), Struct("!iq"), Struct("!iqiq")
_UNIQUE_VIOLATION = "23505"
_ARCHIVED = {"23001", "23514"}  # The month is refused; its partition is gone.
_EVENTS = "meter_event"
_known_months: set[date] = set()  # Months whose partition is committed; only archives take one.

_MAKE_BATCH = """
WITH drawn AS MATERIALIZED (
    SELECT array_agg(nextval('meter_event_id_seq')) AS ids FROM generate_series(1, %(count)s)
), batch AS (
    INSERT INTO event_batch (received_at, event_count, first_event_id, last_event_id,
                             first_timestamp, last_timestamp)
    SELECT %(at)s, %(count)s, ids[1], ids[%(count)s], %(first)s, %(last)s FROM drawn RETURNING id
)
SELECT batch.id, drawn.ids FROM batch CROSS JOIN drawn
"""
_COPY_IDENTITIES = """
COPY event_identity (customer_id, identifier, content_sha256, event_id, "timestamp")
FROM STDIN (FORMAT binary)
"""
_COPY_EVENTS = """
COPY meter_event (id, customer_id, workspace_id, event_name, identifier, "timestamp", properties,
                  received_at, batch_id) FROM STDIN (FORMAT binary)
"""
_LOOK_UP = """
SELECT k.customer_id, k.identifier, i.content_sha256
FROM unnest(string_to_array(%s, ',')::bigint[], string_to_array(%s, ','))
     AS k(customer_id, identifier)
CROSS JOIN LATERAL (
    SELECT content_sha256 FROM event_identity
    WHERE customer_id = k.customer_id AND identifier = k.identifier
    LIMIT 1 -- Keeps the planner to one probe for each key, however few rows it believes in.
) i
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


class NewEvent(NamedTuple):
    """One event ready to be stored; its customer and workspace are known.

    The key comes first, so that events sort by it.
    """

    customer_id: int
    identifier: str
    workspace_id: int | None
    event_name: str
    timestamp: datetime  # UTC.
    sha256: bytes
    properties: bytes  # As JSON.


def store_events(events: Sequence[NewEvent], at: datetime) -> None:
    """Claim the identities and store the events, as one batch: all of them or none.

    COPY costs PostgreSQL a third less than INSERT with ON CONFLICT. The rows are sorted by their
    key, so that two batches which share keys wait for each other instead of deadlocking.

    Args:
        events: No key twice, none that `stored_hashes` knows.

    Raises:
        ClaimedMeanwhile: somebody else's claim of a key was committed in between. The transaction
            is over; repeated, it finds that claim.
    """
    if not events:
        return
    with _claims_told():
        ensure_partitions(event.timestamp for event in events)
        batch_id, ids = _make_batch(events, at)
    copy_events(events, batch_id, ids, at)


def copy_events(
    events: Sequence[NewEvent], batch_id: int, ids: Sequence[int], at: datetime
) -> None:
    """Write the identities and events of a batch whose own row is written.

    Args:
        ids: As many as events, ascending.

    Raises:
        ClaimedMeanwhile: as `store_events`.
    """
    with _claims_told(), connection.wrap_database_errors:  # Django wraps `execute`, not COPY.
        _copy(sorted(events, key=_KEY), ids, batch_id, at)


@contextmanager
def _claims_told() -> Iterator[None]:
    """Tell what another request did in between from what is wrong with a row."""
    try:
        yield
    except IntegrityError as error:
        sqlstate = getattr(error.__cause__, "sqlstate", None)
        if sqlstate == _UNIQUE_VIOLATION:
            CAUTION.begin()
            raise ClaimedMeanwhile("an event was stored by another request just now") from error
        if sqlstate in _ARCHIVED and _is_partition_refused(error):
            forget_months()
            raise ClaimedMeanwhile("the month of an event was archived just now") from error
        raise


def _is_partition_refused(error: IntegrityError) -> bool:
    """Tell a month without partition from a row that breaks a constraint: that one has a name."""
    said = getattr(error.__cause__, "diag", None)
    return said is not None and (said.table_name, said.constraint_name) == (_EVENTS, None)


def stored_hashes(wanted: Collection[Key]) -> dict[Key, bytes]:
    """Return the content hashes of those keys that are claimed."""
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        # No identifier holds a comma, and one long text is quoted faster than 1,000 short ones.
        keys = [",".join(str(pk) for pk, _ in wanted), ",".join(name for _, name in wanted)]
        cursor.execute(_LOOK_UP, keys)
        return {(pk, name): bytes(sha256) for pk, name, sha256 in cursor.fetchall()}


def ensure_partitions(timestamps: Iterable[datetime]) -> int:
    """Make the monthly partitions that are missing and return their count.

    What is known is remembered only once it is committed.
    """
    moments = list(timestamps)
    months = {_month_of(moment) for moment in (min(moments), max(moments))} if moments else set()
    if len(months) > 1:
        months = {_month_of(moment) for moment in moments}
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


def is_month_known(moment: datetime) -> bool:
    """Tell whether an instant's partition was seen to stand, without asking."""
    return _month_of(moment) in _known_months


def _month_of(moment: datetime) -> date:
    return moment.astimezone(UTC).date().replace(day=1)


def forget_months() -> None:
    """Ask the database again which partitions stand."""
    _known_months.clear()


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


def _make_batch(events: Sequence[NewEvent], at: datetime) -> tuple[int, list[int]]:
    """Write the batch and draw the ids of its events, ascending; return both."""
    moments = [event.timestamp for event in events]
    bounds = {"first": min(moments), "last": max(moments)}
    with connection.cursor() as cursor:
        cursor.execute(_MAKE_BATCH, {"count": len(events), "at": at, **bounds})
        batch_id, ids = cursor.fetchone()
    return batch_id, ids


def _copy(events: Sequence[NewEvent], ids: Sequence[int], batch_id: int, at: datetime) -> None:
    """Write both tables in PostgreSQL's binary form: each value's length, then its bytes."""
    identities, rows = [_HEAD], [_HEAD]
    places: dict[tuple[int | None, str], bytes] = {}  # Workspace and name, as they are written.
    received = _INSTANT_AND_ID.pack(8, _microseconds(at), 8, batch_id)
    for pk, event in zip(ids, events, strict=True):
        customer, identifier, workspace, name, timestamp, sha256, properties = event
        moment = _microseconds(timestamp)
        key = identifier.encode()
        size = len(key)
        if (place := places.get((workspace, name))) is None:
            place = places[workspace, name] = _place(workspace, name)
        identity, start = _layouts(size, len(place))
        identities.append(identity(5, 8, customer, size, key, 32, sha256, 8, pk, 8, moment))
        head = start(
            9, 8, pk, 8, customer, place, size, key, 8, moment, len(properties) + 1, _JSONB_VERSION
        )
        rows += head, properties, received
    with connection.cursor() as cursor:
        for statement, parts in ((_COPY_IDENTITIES, identities), (_COPY_EVENTS, rows)):
            with cursor.copy(statement) as copy:
                copy.write(b"".join((*parts, _END)))


@lru_cache(maxsize=4096)
def _layouts(key: int, place: int) -> tuple[Callable[..., bytes], Callable[..., bytes]]:
    """Return what packs an identity, and an event up to its properties.

    Args:
        key, place: Bytes of the identifier, and of what `_place` wrote.
    """
    return (
        Struct(f"!hiqi{key}si32siqiq").pack,
        Struct(f"!hiqiq{place}si{key}siqiB").pack,
    )


def _place(workspace: int | None, name: str) -> bytes:
    event_name = name.encode()
    written = _LENGTH.pack(len(event_name)) + event_name
    return (_NULL if workspace is None else _ID.pack(8, workspace)) + written


def _microseconds(moment: datetime) -> int:
    """Write an instant as PostgreSQL does: microseconds since 2000, UTC."""
    passed = moment - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
