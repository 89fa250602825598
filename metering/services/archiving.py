"""Move whole months of raw events to verified files, and back.

A month leaves only once nothing waits for it: its batches are aggregated, its windows say what its
events say, no higher app needs its events, the door is closed to more. The file is written, read
back and compared with the table row by row; only then, under the lock that keeps every other writer
out, the partition is detached and the month recorded, in one transaction. Killed at any point, the
next run begins again where it stood.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import audit
from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.errors import Conflict, NotFound
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from billing_project.kernel.quantity import how_many
from billing_project.kernel.sessions import held
from metering.archive_file import (
    COLUMNS,
    ROWS,
    SCHEMA_VERSION,
    groups_of,
    new_file,
    sha256_of,
    table_of,
    write_text,
)
from metering.archive_sql import (
    BY_CUSTOMER,
    BY_METER,
    PARTIAL_BATCHES,
    SEALS,
    SEALS_OF_EVENTS,
)
from metering.models import Aggregation, ArchivedMonth, EventBatch, QuarantinedEvent, UsageWindow
from metering.models.event import QuarantineState
from metering.reading_sql import Params
from metering.selectors.archive import (
    archive_path,
    first_open,
    month_named,
    reasons_to_keep,
    stored_months,
)
from metering.services.replaying import chunks, replay_chunk
from metering.services.storing import ensure_partitions, forget_months

OnRows = Callable[[str, int], None]  # What is done, and to how many rows more.

_LOCK_SECONDS, _ATTEMPTS = 2, 15
_BUSY = {"55P03", "40P01"}  # Lock timeout; deadlock with a writer of this month: both try again.
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
_ROWS = f"""
SELECT {_NAMES}::text FROM meter_event
WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s
ORDER BY customer_id, identifier COLLATE "C", id
"""  # noqa: S608 - names of this house; properties come last
_COUNT = """
SELECT count(*), min(id), max(id) FROM meter_event
WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s
"""
_COPY = f"COPY meter_event ({_NAMES}) FROM STDIN"


def archivable_months(before: date) -> list[Period]:
    """List the whole months before a date that have a partition, the oldest first."""
    end = month_named(before).start
    return [month for month in stored_months() if month.end <= end]


def reasons_not_to_archive(month: Period, at: datetime) -> list[str]:
    """Say why a month's events must stay for now; none: it may go."""
    reasons = []
    if month.end > first_open(at) or month.end + timedelta(days=settings.EVENT_DAYS_BACK) > at:
        reasons.append("events of it are still accepted")
    waiting = EventBatch.objects.filter(
        aggregated_at__isnull=True, first_timestamp__lt=month.end, last_timestamp__gte=month.start
    )
    if count := waiting.count():
        words = "batches wait" if count > 1 else "batch waits"
        reasons.append(f"{count} {words} to be aggregated")
    kept = QuarantinedEvent.objects.filter(
        state=QuarantineState.OPEN, timestamp__gte=month.start, timestamp__lt=month.end
    )
    if count := kept.count():
        reasons.append(f"{how_many(count, 'event')} of it in quarantine")
    levels = UsageWindow.objects.filter(
        meter__aggregation=Aggregation.TIME_WEIGHTED_SUM,
        start_at__gte=month.start,
        start_at__lt=month.end,
        event_count__gt=0,
    )
    if codes := sorted(set(levels.values_list("meter__code", flat=True))):
        reasons.append(f"levels of {', '.join(codes)} go on from events of it")
    return reasons + reasons_to_keep(month, at)


def archive_month(
    *, month: Period, by: User, at: datetime, on_rows: OnRows = lambda what, count: None
) -> ArchivedMonth:
    """Write, verify and detach a month; one that is archived already is returned as it is.

    Raises:
        Conflict: something still needs the month, or its books do not hold.
    """
    if earlier := _archived(month):
        return earlier
    _refuse_needed(month, at)
    path = Path(settings.ARCHIVE_DIR) / f"{_partition(month)}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.name):
        with _one_state():
            _refuse_differences(month)
            _write(path, month, on_rows)
            _compare(path, month, on_rows)
            manifest = _manifest(month)
        file = {"name": path.name, "sha256": sha256_of(path), "schema": SCHEMA_VERSION}
        manifest |= {"file": file}
        write_text(path.with_suffix(".json"), canonical_json(manifest))
        return _detach_patiently(month, path, manifest, by, at)


def drop_detached(*, archived: ArchivedMonth, by: User, at: datetime) -> bool:
    """Drop the detached table of an archived month once its file is proven to be there.

    Raises:
        Conflict: the file is missing or is not what was verified.
    """
    refuse_bad_file(archived)
    with transaction.atomic():
        row = ArchivedMonth.objects.select_for_update(no_key=True).get(pk=archived.pk)
        if row.restored_at is not None or row.dropped_at is not None:
            return False
        _call("meter_event_drop_detached", row.start_at)
        row.dropped_at = at
        row.save(update_fields=["dropped_at"])
        audit.record(by=by, at=at, action="drop_archived_month", subject=row)
    return True


def restore_month(
    *, first: date, by: User, at: datetime, on_rows: OnRows = lambda what, count: None
) -> ArchivedMonth:
    """Bring a month's events back: from the detached table, or from the verified file.

    Raises:
        NotFound: the month is not archived.
        Conflict: the file is missing or is not what was verified.
    """
    month = month_named(first)
    archived = _archived(month)
    if archived is None:
        raise NotFound(f"{month.start:%Y-%m} is not archived")
    if archived.dropped_at is not None:
        refuse_bad_file(archived)
    with transaction.atomic():
        row = ArchivedMonth.objects.select_for_update(no_key=True).get(pk=archived.pk)
        if row.restored_at is not None:
            raise NotFound(f"{month.start:%Y-%m} is not archived")
        row.restored_at, row.restored_by = at, by
        row.save(update_fields=["restored_at", "restored_by"])
        if row.dropped_at is None:
            _call("meter_event_attach_partition", row.start_at)
        else:
            _load(row, on_rows)
        _refuse_other_events(row)
        audit.record(by=by, at=at, action="restore_month", subject=row)
    return row


def refuse_bad_file(archived: ArchivedMonth) -> None:
    """Refuse to rely on a file that is not what was verified.

    Raises:
        Conflict: missing, or another sha256.
    """
    path = archive_path(archived)
    if not path.exists():
        raise Conflict(f"{path.name} is not in ARCHIVE_DIR", code="archive_missing")
    if sha256_of(path) != archived.file_sha256:
        raise Conflict(f"{path.name} is not the file that was verified", code="archive_changed")


def _refuse_needed(month: Period, at: datetime) -> None:
    if reasons := reasons_not_to_archive(month, at):
        raise Conflict(f"{month.start:%Y-%m} stays: {'; '.join(reasons)}", code="month_needed")


@contextmanager
def _alone(file_name: str) -> Iterator[None]:
    """Let one process at a time write an archive: a verified file is never written over.

    Raises:
        Conflict: somebody else is at it.
    """
    with held(f"archive:{file_name}") as is_ours:
        if not is_ours:
            raise Conflict(f"somebody else writes {file_name} now", code="archive_under_way")
        yield


def _archived(month: Period) -> ArchivedMonth | None:
    return ArchivedMonth.objects.filter(start_at=month.start, restored_at__isnull=True).first()


def _refuse_differences(month: Period) -> None:
    """Let a month go only if its books hold: what leaves cannot be counted again."""
    differing = sum(len(replay_chunk(span)) for span in chunks(month))
    if differing:
        raise Conflict(f"{month.start:%Y-%m}: {differing} windows do not say what its events say")
    for name, text in SEALS_OF_EVENTS.items():
        if _seal(SEALS[name], month) != _seal(text, month):
            raise Conflict(f"{month.start:%Y-%m}: {name} and events do not agree: check_books")


def _write(path: Path, month: Period, on_rows: OnRows) -> None:
    with new_file(path) as writer:
        for rows in _rows(month):
            writer.write_table(table_of(rows), row_group_size=ROWS)
            on_rows("write", len(rows))


def _compare(path: Path, month: Period, on_rows: OnRows) -> None:
    """Read the file back and compare every row with the table."""
    groups = groups_of(path)
    for rows in _rows(month):
        group = next(groups, None)
        if group is None or not group.equals(table_of(rows)):
            raise Conflict(f"{path.name} does not read back as the table")
        on_rows("verify", len(rows))
    if next(groups, None) is not None:
        raise Conflict(f"{path.name} holds more than the table")


def _rows(month: Period) -> Iterator[Sequence[Sequence[Any]]]:
    """Read a month's events in the order of the file, through a cursor of the server."""
    connection.ensure_connection()
    driver: Any = connection.connection
    with driver.cursor(name="archive") as cursor:
        cursor.itersize = ROWS
        cursor.execute(_ROWS, _bounds(month))
        while rows := cursor.fetchmany(ROWS):
            yield rows


def _manifest(month: Period) -> dict[str, Any]:
    return {
        "month": f"{month.start:%Y-%m}",
        "events": _events(month),
        "seals": {name: _seal(text, month) for name, text in SEALS.items()},
        "customers": {str(pk): [rows, str(sum_)] for pk, rows, sum_ in _all(BY_CUSTOMER, month)},
        "meters": {code: [quantity, rows] for code, quantity, rows in _all(BY_METER, month)},
        "partial_batches": [
            {"batch_id": batch, "event_count": rows, "first_event_id": low, "last_event_id": high,
             "first_timestamp": begin.isoformat(), "last_timestamp": end.isoformat()}
            for batch, rows, low, high, begin, end in _all(PARTIAL_BATCHES, month)
        ],
    }  # fmt: skip


def _detach_patiently(
    month: Period, path: Path, manifest: dict[str, Any], by: User, at: datetime
) -> ArchivedMonth:
    """Wait for the lock in short turns, so that nobody queues behind us for long."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return _detach(month, path, manifest, by, at)
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", None) not in _BUSY:
                raise
            time.sleep(attempt)
    return _detach(month, path, manifest, by, at)


@transaction.atomic
def _detach(
    month: Period, path: Path, manifest: dict[str, Any], by: User, at: datetime
) -> ArchivedMonth:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        # Writers of this month wait; events are never changed: as many are the same ones.
        cursor.execute(f"LOCK TABLE {_partition(month)} IN SHARE ROW EXCLUSIVE MODE")
        if _events(month) != manifest["events"]:
            raise _changed(month)
        # What came after the first look, and before the file was written, may be in no window yet.
        _refuse_needed(month, at)
        _refuse_changes(month, manifest, SEALS)
        # Now readers too: what adjusts an event of the month has ended or not begun.
        cursor.execute("LOCK TABLE meter_event IN ACCESS EXCLUSIVE MODE")
        _refuse_changes(month, manifest, ["adjustments"])
    archived = ArchivedMonth.objects.create(
        start_at=month.start,
        end_at=month.end,
        file_name=path.name,
        file_sha256=manifest["file"]["sha256"],
        file_bytes=path.stat().st_size,
        event_count=manifest["events"]["count"],
        manifest=manifest,
        archived_by=by,
        archived_at=at,
    )
    _call("meter_event_detach_partition", month.start)
    forget_months()
    audit.record(
        by=by, at=at, action="archive_month", subject=archived,
        event_count=archived.event_count, sha256=archived.file_sha256,
    )  # fmt: skip
    return archived


def _refuse_changes(month: Period, manifest: dict[str, Any], seals: Iterable[str]) -> None:
    if not all(_seal(SEALS[name], month) == manifest["seals"][name] for name in seals):
        raise _changed(month)


def _changed(month: Period) -> Conflict:
    return Conflict(f"{month.start:%Y-%m} changed while it was archived; run it again")


def _events(month: Period) -> dict[str, int | None]:
    count, first, last = _one(_COUNT, month)
    return {"count": count, "first_id": first, "last_id": last}


def _load(archived: ArchivedMonth, on_rows: OnRows) -> None:
    """Copy the rows of the file into a new partition."""
    forget_months()
    ensure_partitions([archived.start_at])
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for group in groups_of(archive_path(archived)):
            for row in group.to_pylist():
                copy.write_row([row[name] for name in COLUMNS])
            on_rows("restore", group.num_rows)


def _refuse_other_events(archived: ArchivedMonth) -> None:
    """Compare what was brought back with the manifest, customer by customer."""
    month = Period(archived.start_at, archived.end_at)
    found = {str(pk): [rows, str(sum_)] for pk, rows, sum_ in _all(BY_CUSTOMER, month)}
    if found != archived.manifest["customers"]:
        raise Conflict(f"the events of {archived} are not those that were archived")


@contextmanager
def _one_state() -> Iterator[None]:
    """Read on one state of the database; inside a transaction, on its own."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def _seal(text: str, month: Period) -> list[str]:
    return [str(part) for part in _one(text, month)]


def _one(text: str, month: Period) -> tuple[Any, ...]:
    return _all(text, month)[0]


def _all(text: str, month: Period) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(text, _bounds(month))
        return list(cursor.fetchall())


def _partition(month: Period) -> str:
    return f"meter_event_{month.start:%Y_%m}"


def _bounds(month: Period) -> Params:
    return {"start": month.start, "end": month.end}


def _call(function: str, start_at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [start_at.astimezone(UTC).date()])
