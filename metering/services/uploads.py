"""Files that were uploaded for an import: stored under their sha256, read by the worker."""

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from django.conf import settings

from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from metering.imports import format_named
from metering.models import ImportRun, ImportState
from metering.services.imports import ImportFile, end_import, import_stream, start_import

_CHUNK = 1024 * 1024


class Upload(Protocol):
    """An uploaded file, as Django hands it over."""

    @property
    def name(self) -> str | None:
        """The file's name on the sender's machine."""

    def chunks(self) -> Iterator[bytes]:
        """Give the content piece by piece."""


def upload_file(
    *, upload: Upload, history_since: datetime | None, reason: str, by: User, at: datetime
) -> ImportRun:
    """Store an uploaded file and leave its run to the worker.

    Raises:
        Invalid: no CSV or JSONL by its name; older use without a reason.
        Conflict: the same file waits with other bounds.
    """
    return start_import(
        file=store_upload(upload), history_since=history_since, reason=reason, is_waiting=True,
        by=by, at=at,
    )  # fmt: skip


def store_upload(upload: Upload, prefix: str = "") -> ImportFile:
    """Keep an uploaded file for the worker, under its sha256 behind a prefix.

    Raises:
        Invalid: no CSV or JSONL by its name.
    """
    name = Path(upload.name or "").name
    kind = format_named(name)
    if kind is None:
        raise Invalid("the file is called .csv or .jsonl, and may be compressed (.gz)")
    folder = Path(settings.IMPORT_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    sha256, size = _store(upload.chunks(), folder, prefix)
    return ImportFile(name, kind, sha256, size, stored_name=prefix + sha256)


def hash_file(stream: BinaryIO, on_read: Callable[[int], None] = lambda count: None) -> str:
    """Return the sha256 of a file, in hex, telling how much was read."""
    sha256 = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        sha256.update(chunk)
        on_read(len(chunk))
    return sha256.hexdigest()


def run_uploads(*, now: Callable[[], datetime], is_over: Callable[[], bool]) -> int:
    """Read uploaded files until none waits or the time is over; return the lines that were read.

    One that fails stays open and does not hold up those behind it.
    """

    def read(run: ImportRun) -> int:
        before = run.record_count
        return 0 if is_over() else _run_upload(run, now, is_over).record_count - before

    return each_apart(open_uploads(), read, step="import")


def open_uploads() -> list[ImportRun]:
    """List uploads that wait or are under way, the oldest first.

    What a shell began and left is one of them once its file was uploaded too.
    """
    runs = ImportRun.objects.filter(state__in=[ImportState.WAITING, ImportState.RUNNING])
    return [run for run in runs.order_by("id") if run.stored_name or _is_stored(run)]


def _run_upload(
    run: ImportRun, now: Callable[[], datetime], is_over: Callable[[], bool]
) -> ImportRun:
    path = _path_of(run)
    if not path.exists():
        fault = "the uploaded file is gone; upload it again (web and worker share IMPORT_DIR)"
        return end_import(run_id=run.pk, fault=fault, at=now())
    try:
        with path.open("rb") as stream:
            run = import_stream(run=run, stream=stream, now=now, on_batch=lambda _: not is_over())
    except Conflict:  # Another worker goes on with it.
        return run
    if not run.is_open:
        path.unlink(missing_ok=True)
    return run


def _path_of(run: ImportRun) -> Path:
    return Path(settings.IMPORT_DIR) / (run.stored_name or run.content_sha256)


def _is_stored(run: ImportRun) -> bool:
    return bool(run.content_sha256) and _path_of(run).exists()


def _store(chunks: Iterator[bytes], folder: Path, prefix: str) -> tuple[str, int]:
    """Write under a temporary name, then under the sha256: a stored file is whole."""
    sha256, size = hashlib.sha256(), 0
    part = folder / f".{os.getpid()}-{id(chunks)}.part"
    try:
        with part.open("wb") as out:
            for chunk in chunks:
                sha256.update(chunk)
                size += out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        part.rename(folder / (prefix + sha256.hexdigest()))
    finally:
        part.unlink(missing_ok=True)
    return sha256.hexdigest(), size
