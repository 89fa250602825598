"""Write rows as CSV, JSON lines or Parquet, piece by piece: no export is held in memory.

Rows come as mappings from an iterator that reads as it goes. Text that a spreadsheet would run as
a formula is made text.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import msgspec

Cell = str | int | bool | datetime | None
Row = Mapping[str, Cell]
FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
_AT_ONCE = 2000  # Rows of one piece, and of one row group.
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_json = msgspec.json.Encoder()


@dataclass(frozen=True)
class Column:
    """A column's name and what its cells are."""

    name: str
    kind: type = str


def safe_cell(text: str) -> str:
    """Keep a spreadsheet from reading text as a formula; plain numbers stay numbers.

    Source: OWASP, CSV injection: an apostrophe in front turns a cell into text.
    """
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def pieces(kind: str, columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[bytes]:
    """Write rows in one of FORMATS; yields bytes as rows are read."""
    return {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}[kind](columns, rows)


def _csv(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[bytes]:
    names = [column.name for column in columns]
    yield _csv_lines([names])
    for some in _chunks(rows):
        yield _csv_lines([[safe_cell(_text(row[name])) for name in names] for row in some])


def _csv_lines(lines: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(lines)
    return out.getvalue().encode()


def _jsonl(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[bytes]:
    for some in _chunks(rows):
        lines = [_json.encode({c.name: _plain(row[c.name]) for c in columns}) for row in some]
        yield b"\n".join([*lines, b""])


def _parquet(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[bytes]:
    import pyarrow as pa  # Heavy: only who exports Parquet loads it.
    import pyarrow.parquet as pq

    types = {
        str: pa.string(),
        int: pa.int64(),
        bool: pa.bool_(),
        datetime: pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema([(column.name, types[column.kind]) for column in columns])
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for some in _chunks(rows):
            cells = {c.name: [row[c.name] for row in some] for c in columns}
            writer.write_table(pa.table(cells, schema=schema))
            yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """A file that is only written to, and is emptied as it grows."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[bytes] = []

    def writable(self) -> bool:
        """Tell the writer that it may write."""
        return True

    def write(self, data: object) -> int:
        """Keep the bytes until they are taken."""
        piece = bytes(data)  # type: ignore[call-overload]
        self._written.append(piece)
        return len(piece)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        piece = b"".join(self._written)
        self._written.clear()
        return piece


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    reader = iter(rows)
    while some := list(islice(reader, _AT_ONCE)):
        yield some


def _plain(cell: Cell) -> str | int | bool | None:
    return _instant(cell) if isinstance(cell, datetime) else cell


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return _instant(cell) if isinstance(cell, datetime) else str(cell)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
