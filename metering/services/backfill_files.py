"""Read an uploaded file into a backfill, a thousand lines at a time.

Each thousand is a transaction of its own; uploaded again, a file goes on where it was cut off,
because a line that was taken in before is only repeated.
"""

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import BinaryIO
from zlib import error as ZlibError  # noqa: N812 - a class, whatever its name

from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from metering.imports import Position, format_named, open_plain, read_records
from metering.models import Backfill
from metering.services.backfills import Line, UploadResult, add_backfill_lines

_AT_ONCE = 1000


def upload_backfill_file(
    *,
    backfill: Backfill,
    name: str,
    stream: BinaryIO,
    by: User,
    at: datetime,
    on_lines: Callable[[UploadResult], None] = lambda result: None,
) -> UploadResult:
    """Take a CSV or JSONL file in, compressed or not; lines with faults are kept with theirs.

    Args:
        on_lines: Is told what became of the lines so far.

    Raises:
        Invalid: neither CSV nor JSONL by its name, or unreadable.
        Conflict: the backfill takes no lines any more, or has too many.
    """
    kind = format_named(name)
    if kind is None:
        raise Invalid("the file is called .csv or .jsonl, and may be compressed (.gz)")
    result = UploadResult()
    try:
        records = read_records(open_plain(stream), kind, Position())
        while some := [Line(one.line, one.item) for one in islice(records, _AT_ONCE)]:
            result += add_backfill_lines(backfill=backfill, lines=some, by=by, at=at)
            on_lines(result)
    except (EOFError, ZlibError, OSError) as error:
        raise Invalid(f"the file cannot be read to its end: {error}") from error
    return result
