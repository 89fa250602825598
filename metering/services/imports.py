"""Bring a file of events in: through the same door as any request, a thousand lines at a time.

What a batch stored, its refused lines and the place behind it are one transaction: a run that is
killed goes on behind its last batch, and no line is counted twice.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO
from zlib import error as ZlibError  # noqa: N812 - a class, whatever its name

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.sessions import wait_for
from metering.imports import FileFormat, Position, Record, open_plain, read_records
from metering.judging import Status
from metering.models import ImportedLine, ImportRun, ImportState
from metering.services.capture import CaptureResult, ItemResult, capture_events
from metering.services.retrying import atomic_with_retries

BATCH = 1000
BATCH_BYTES = 8 * 1024 * 1024  # A thousand of the longest lines would be 250 MiB, and more decoded.
_COUNTS = (
    ("accepted_count", "accepted"),
    ("duplicate_count", "duplicates"),
    ("conflict_count", "conflicts"),
    ("quarantined_count", "quarantined"),
    ("rejected_count", "rejected"),
)


@dataclass(frozen=True)
class ImportFile:
    """What is known of a file before it is read."""

    name: str
    format: FileFormat
    sha256: str = ""  # Empty for a pipe, which cannot be taken up again.
    size_bytes: int = 0
    stored_name: str = ""


@dataclass(frozen=True)
class _Batch:
    records: Sequence[Record]
    start: Position
    read_bytes: int


@atomic_with_retries
def start_import(
    *,
    file: ImportFile,
    history_since: datetime | None = None,
    reason: str = "",
    is_waiting: bool = False,
    by: User,
    at: datetime,
) -> ImportRun:
    """Begin a run, or take up the unfinished one of the same file.

    Args:
        history_since: Accept timestamps back to this instant instead of the usual days; needs a
            reason.
        is_waiting: The worker is to take it.

    Raises:
        Invalid: older use is asked for without a reason.
        Conflict: the unfinished run of this file was begun with other bounds.
    """
    if history_since is not None and not reason.strip():
        raise Invalid("an import of older use needs its reason")
    if earlier := _unfinished(file):
        if earlier.history_since != history_since:
            raise Conflict(f"{earlier} was begun with other bounds of time and is not finished")
        return earlier
    run = ImportRun.objects.create(
        name=file.name[:255],
        stored_name=file.stored_name,
        format=file.format,
        content_sha256=file.sha256,
        size_bytes=file.size_bytes,
        history_since=history_since,
        reason=reason,
        started_by=by,
        started_at=at,
        state=ImportState.WAITING if is_waiting else ImportState.RUNNING,
        updated_at=at,
    )
    since = None if history_since is None else history_since.isoformat()
    audit.record(
        by=by, at=at, action="import_events", subject=run, reason=reason,
        name=run.name, sha256=file.sha256, history_since=since,
    )  # fmt: skip
    return run


def _unfinished(file: ImportFile) -> ImportRun | None:
    """Lock the file's unfinished run; of two who begin with a file, the second finds the first."""
    if not file.sha256:
        return None
    wait_for(f"import:{file.sha256}")
    runs = ImportRun.objects.filter(
        content_sha256=file.sha256, state__in=[ImportState.WAITING, ImportState.RUNNING]
    )
    return runs.select_for_update(no_key=True).first()


def import_stream(
    *,
    run: ImportRun,
    stream: BinaryIO,
    now: Callable[[], datetime],
    on_batch: Callable[[ImportRun], bool] = lambda run: True,
) -> ImportRun:
    """Read the file from where the run stands to its end.

    Args:
        stream: The file at its beginning, compressed or not.
        now: The instant of each batch's receipt.
        on_batch: Is told of every batch; answers whether to go on.

    Raises:
        Conflict: another process goes on with the same run.
    """
    place = Position(run.byte_offset, run.line_count)
    try:
        records = read_records(open_plain(stream), FileFormat(run.format), place)
        for batch in _batches(records, place, stream):
            run = _import_batch(run_id=run.pk, batch=batch, at=now())
            if not on_batch(run):
                return run
    except (Invalid, EOFError, ZlibError, OSError) as error:
        return end_import(run_id=run.pk, fault=str(error) or type(error).__name__, at=now())
    return end_import(run_id=run.pk, fault="", at=now())


def _batches(records: Iterable[Record], start: Position, stream: BinaryIO) -> Iterator[_Batch]:
    batch: list[Record] = []
    size = 0

    def read() -> _Batch:
        return _Batch(tuple(batch), start, stream.tell() if stream.seekable() else 0)

    for record in records:
        batch.append(record)
        size += len(record.raw)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield read()
            batch, start, size = [], record.end, 0
    if batch:
        yield read()


@atomic_with_retries
def _import_batch(*, run_id: int, batch: _Batch, at: datetime) -> ImportRun:
    run = ImportRun.objects.select_for_update(no_key=True).get(pk=run_id)
    if not run.is_open or run.byte_offset != batch.start.offset:
        raise Conflict(f"another process goes on with {run}", code="import_goes_on_elsewhere")
    result = capture_events(
        items=[record.item for record in batch.records],
        sender=f"import {run.name}"[:100],
        at=at,
        since=run.history_since,
    )
    _keep_lines(run, batch.records, result)
    _move(run, batch, result, at)
    return run


def _move(run: ImportRun, batch: _Batch, result: CaptureResult, at: datetime) -> None:
    for column, name in _COUNTS:
        setattr(run, column, getattr(run, column) + getattr(result, name))
    run.record_count += len(batch.records)
    run.byte_offset, run.line_count = batch.records[-1].end.offset, batch.records[-1].end.line
    run.read_bytes = max(run.read_bytes, batch.read_bytes)
    run.state, run.updated_at = ImportState.RUNNING, at
    run.save()


def _keep_lines(run: ImportRun, records: Sequence[Record], result: CaptureResult) -> None:
    ImportedLine.objects.bulk_create(
        _line(run, records[item.index], item)
        for item in result.results
        if item.status != Status.DUPLICATE
    )


def _line(run: ImportRun, record: Record, item: ItemResult) -> ImportedLine:
    text = record.raw.decode("utf-8", errors="replace").rstrip("\r\n")
    detail = item.detail if item.path == "$" else f"{item.path} {item.detail}"
    return ImportedLine(
        run=run,
        line=record.line,
        identifier=item.identifier,
        status=item.status,
        code=item.code,
        detail=detail.replace("\x00", "\ufffd"),
        content=text.replace("\x00", "\ufffd"),
    )


@atomic_with_retries
def end_import(*, run_id: int, fault: str, at: datetime) -> ImportRun:
    """Close a run: finished, or failed where the file itself cannot be read."""
    run = ImportRun.objects.select_for_update(no_key=True).get(pk=run_id)
    if not run.is_open:
        return run
    run.state = ImportState.FAILED if fault else ImportState.FINISHED
    run.fault, run.updated_at, run.finished_at = fault, at, at
    if not fault:
        run.read_bytes = max(run.size_bytes, run.read_bytes)
    run.save()
    counts = {column: getattr(run, column) for column, _ in _COUNTS}
    audit.record(by=run.started_by, at=at, action="end_import", subject=run, **counts)
    return run
