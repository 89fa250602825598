"""Read an uploaded file into a backfill, some thousand lines at a time.

A chunk's lines, their faults and the place behind them are one transaction: a run that is killed
goes on behind its last chunk.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from zlib import error as ZlibError  # noqa: N812 - a class, whatever its name

from django.conf import settings

from billing_project.kernel.errors import Invalid
from metering.imports import FileFormat, Position, Record, open_plain, read_records
from metering.models import BackfillRun
from metering.services.backfill_runs import end_run
from metering.services.backfills import Line, add_backfill_lines
from metering.services.retrying import atomic_with_retries

_AT_ONCE = 5_000
_BYTES_AT_ONCE = 8 * 1024 * 1024


@dataclass(frozen=True)
class _Chunk:
    records: Sequence[Record]
    start: Position
    read_bytes: int


def read_upload(
    run: BackfillRun, *, now: Callable[[], datetime], is_over: Callable[[], bool]
) -> BackfillRun:
    """Read a run's file from where it stands, to its end or until the time is over.

    Another process that goes on with it is left alone.

    Raises:
        Invalid: the file is gone, or cannot be read to its end.
        Conflict: the backfill takes no lines any more, or has too many.
    """
    path = path_of(run)
    if not path.exists():
        raise Invalid("the uploaded file is gone; upload it again (web and worker share its place)")
    try:
        with path.open("rb") as stream:
            for chunk in _chunks(run, stream):
                taken = _take(run.pk, chunk, now())
                if taken is None or is_over():
                    return taken or run
    except (EOFError, ZlibError, OSError) as error:
        raise Invalid(f"the file cannot be read to its end: {error}") from error
    end_run(run, at=now())
    return run


def forget_upload(run: BackfillRun) -> None:
    """Delete the file of a run that is over."""
    if run.stored_name:
        path_of(run).unlink(missing_ok=True)


def path_of(run: BackfillRun) -> Path:
    """Say where a run's file lies."""
    return Path(settings.IMPORT_DIR) / run.stored_name


def _chunks(run: BackfillRun, stream: BinaryIO) -> Iterator[_Chunk]:
    start = Position(run.byte_offset, run.line_count)
    records = read_records(open_plain(stream), FileFormat(run.format), start)
    for some in _gathered(records):
        yield _Chunk(some, start, stream.tell())
        start = some[-1].end


def _gathered(records: Iterable[Record]) -> Iterator[list[Record]]:
    some: list[Record] = []
    size = 0
    for record in records:
        some.append(record)
        size += len(record.raw)
        if len(some) == _AT_ONCE or size >= _BYTES_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


@atomic_with_retries
def _take(run_id: int, chunk: _Chunk, at: datetime) -> BackfillRun | None:
    """Take a chunk in; None where somebody else has moved the run on or ended it."""
    rows = BackfillRun.objects.select_for_update(no_key=True, of=("self",))
    run = rows.select_related("backfill", "requested_by").get(pk=run_id)
    if not run.is_open or run.byte_offset != chunk.start.offset:
        return None
    lines = [Line(record.line, record.item) for record in chunk.records]
    result = add_backfill_lines(backfill=run.backfill, lines=lines, by=run.requested_by, at=at)
    run.accepted_count += result.accepted
    run.repeated_count += result.repeated
    run.refused_count += result.refused
    run.byte_offset, run.line_count = chunk.records[-1].end.offset, chunk.records[-1].end.line
    run.read_bytes, run.updated_at = max(run.read_bytes, chunk.read_bytes), at
    run.attempt_count = 0
    run.save()
    return run
