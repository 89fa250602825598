"""Files of events, read record by record: a CSV or JSONL stream in, located events out.

Each record knows the offset behind it, so that a reader can go on from there. Nothing is held but
one record; what cannot be read costs itself. Pure: streams are handed in, nothing is stored.
"""

import csv
import gzip
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, cast

import msgspec

from billing_project.kernel.errors import Invalid
from billing_project.kernel.quantity import how_many
from metering.events import BadItem, EventInput, decode_event

MAX_RECORD = 256 * 1024  # An event of 64 properties of 1,000 characters each fits.
_FIELDS = ("event_name", "identifier", "customer", "workspace", "timestamp")
_REQUIRED = _FIELDS[:3]
_PREFIX = "properties."
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"


class FileFormat(StrEnum):
    """How a file's lines are written."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True)
class Position:
    """Where a reader stands, in the plain text: bytes and lines behind it."""

    offset: int = 0
    line: int = 0


@dataclass(frozen=True)
class Record:
    """One record of a file, with what it says and where it stands."""

    line: int  # Of its first line; the first line of a file is 1.
    end: Position
    raw: bytes
    item: EventInput | BadItem


@dataclass(frozen=True)
class Header:
    """The columns of a CSV: fields of an event, and properties for the rest."""

    names: tuple[str, ...]  # Fields by their name, properties with their prefix.
    end: Position


@dataclass(frozen=True)
class _Line:
    end: Position
    raw: bytes
    is_whole: bool  # Not cut at MAX_RECORD.


def format_named(name: str) -> FileFormat | None:
    """Tell a file's format by its name, or None."""
    plain = name.lower().removesuffix(".gz")
    if plain.endswith(".csv"):
        return FileFormat.CSV
    return FileFormat.JSONL if plain.endswith((".jsonl", ".ndjson")) else None


def open_plain(stream: BinaryIO) -> BinaryIO:
    """Return a stream of the plain text, whether the file is compressed or not."""
    if _head(stream) == _GZIP:
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream, mode="rb"))
    return stream


def read_records(stream: BinaryIO, kind: FileFormat, start: Position) -> Iterator[Record]:
    """Read the records behind a position; the stream itself stands at its beginning.

    Raises:
        Invalid: a CSV whose header is missing or names columns twice.
    """
    header = _read_header(stream) if kind == FileFormat.CSV else None
    begin = Position() if header is None else header.end
    if start.offset > begin.offset:
        _skip(stream, start.offset - begin.offset)
        begin = start
    lines = _lines(stream, begin)
    return _json_records(lines) if header is None else _csv_records(lines, header)


def _head(stream: BinaryIO) -> bytes:
    """Look at the first two bytes and leave them there; a pipe can look, but not go back."""
    if isinstance(stream, io.BufferedReader):
        return stream.peek(2)[:2]
    head = stream.read(2)
    stream.seek(-len(head), io.SEEK_CUR)
    return head


def _json_records(lines: Iterator[_Line]) -> Iterator[Record]:
    for line in lines:
        text = line.raw.removeprefix(_BOM) if line.end.line == 1 else line.raw
        if text.strip():
            item = decode_event(text) if line.is_whole else _too_long()
            yield Record(line.end.line, line.end, line.raw, item)


def _csv_records(lines: Iterator[_Line], header: Header) -> Iterator[Record]:
    for first, end, raw, fault in _grouped(lines):
        if fault is not None:
            yield Record(first, end, raw, fault)
        elif raw.strip():
            yield Record(first, end, raw, _row_item(raw, header))


def _grouped(lines: Iterator[_Line]) -> Iterator[tuple[int, Position, bytes, BadItem | None]]:
    """Join the lines of a record: a quoted field goes on until its quotes are even.

    A quote that never ends costs the line that it stands on: not the rest of the file, and not the
    lines between it and another such quote.
    """
    waiting: deque[_Line] = deque()
    while True:
        held: list[_Line] = []
        quotes = size = 0
        while not held or quotes % 2:
            line = waiting.popleft() if waiting else next(lines, None)
            if line is None:
                break
            held.append(line)
            quotes, size = quotes + line.raw.count(b'"'), size + len(line.raw)
            if size > MAX_RECORD or not line.is_whole:
                break
        if not held:
            return
        first, raw = held[0], b"".join(line.raw for line in held)
        is_whole = not quotes % 2 and all(line.is_whole for line in held)
        if is_whole and (len(held) == 1 or _is_one(raw)):
            yield first.end.line, held[-1].end, raw, None
            continue
        yield first.end.line, first.end, first.raw, _unreadable(first)
        waiting.extendleft(reversed(held[1:]))


def _is_one(raw: bytes) -> bool:
    """Tell whether lines are exactly one record, whatever its cells say."""
    try:
        (_,) = csv.reader(io.StringIO(raw.decode(errors="replace"), newline=""), strict=True)
    except (csv.Error, ValueError):
        return False
    return True


def _row_item(raw: bytes, header: Header) -> EventInput | BadItem:
    try:
        (cells,) = csv.reader(io.StringIO(raw.decode(), newline=""), strict=True)
    except UnicodeDecodeError:
        return BadItem("is not UTF-8")
    except (csv.Error, ValueError) as error:
        return BadItem(f"is not a record of a CSV: {error}")
    if len(cells) != len(header.names):
        return BadItem(
            f"has {how_many(len(cells), 'cell')} where the header has {len(header.names)}"
        )
    given = {name: cell for name, cell in zip(header.names, cells, strict=True) if cell}
    properties = {
        name.removeprefix(_PREFIX): given.pop(name) for name in [*given] if name not in _FIELDS
    }
    return decode_event(msgspec.json.encode({**given, "properties": properties}))


def _read_header(stream: BinaryIO) -> Header:
    line = next(_lines(stream, Position()), None)
    if line is None or not line.is_whole:
        raise Invalid("the file has no header")
    try:
        text = line.raw.removeprefix(_BOM).decode()
        (cells,) = csv.reader([text], strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise Invalid("the first line is not the header of a CSV in UTF-8") from error
    names = tuple(_column(cell.strip()) for cell in cells)
    if missing := [name for name in _REQUIRED if name not in names]:
        raise Invalid(f"the header lacks {', '.join(missing)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Invalid(f"the header names {', '.join(twice)} twice")
    return Header(names, line.end)


def _column(name: str) -> str:
    if name in _FIELDS:
        return name
    if not name.removeprefix(_PREFIX):
        raise Invalid("the header has a column without a name")
    return _PREFIX + name.removeprefix(_PREFIX)


def _lines(stream: BinaryIO, start: Position) -> Iterator[_Line]:
    """Read line by line with a bound: of a longer one the beginning is kept."""
    offset, number = start.offset, start.line
    while piece := stream.readline(MAX_RECORD + 1):
        offset, number = offset + len(piece), number + 1
        is_whole = len(piece) <= MAX_RECORD
        while not is_whole and not piece.endswith(b"\n"):
            rest = stream.readline(MAX_RECORD)
            offset += len(rest)
            if not rest or rest.endswith(b"\n"):
                break
        yield _Line(Position(offset, number), piece, is_whole)


def _skip(stream: BinaryIO, count: int) -> None:
    """Go forward; a compressed stream can only be read again."""
    while count > 0 and (read := len(stream.read(min(count, 1024 * 1024)))):
        count -= read


def _unreadable(line: _Line) -> BadItem:
    return _too_long() if not line.is_whole else BadItem("has a quoted field that does not end")


def _too_long() -> BadItem:
    return BadItem(f"is longer than {MAX_RECORD} bytes")
