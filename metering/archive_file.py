"""Events as a Parquet file: rows in, a whole file out, and rows found again.

Rows are sorted by customer and identifier, so that a row group's statistics tell whether it can
hold an event. Properties are JSON text: every digit that was sent stays. No database.
"""

import hashlib
import heapq
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
ROWS = 50_000  # Of a row group: what a look-up reads at least.
COLUMNS = (
    "id",
    "customer_id",
    "workspace_id",
    "event_name",
    "identifier",
    "timestamp",
    "received_at",
    "batch_id",
    "properties",
)
_CHUNK = 1024 * 1024
_ROWS_AT_ONCE = 5_000


def table_of(rows: Sequence[Sequence[Any]]) -> Any:
    """Return rows in the order of COLUMNS as an Arrow table of the schema."""
    import pyarrow as pa  # Heavy: only who archives or looks into an archive loads it.

    instant = pa.timestamp("us", "UTC")
    types = (
        pa.int64(), pa.int64(), pa.int64(), pa.string(), pa.string(), instant, instant,
        pa.int64(), pa.string(),
    )  # fmt: skip
    columns = zip(*rows, strict=True) if rows else [[] for _ in COLUMNS]
    arrays = [pa.array(list(column), kind) for column, kind in zip(columns, types, strict=True)]
    return pa.table(arrays, names=list(COLUMNS))


@contextmanager
def new_file(path: Path) -> Iterator[Any]:
    """Write a file under a temporary name; it has its own name only once it is whole on disk."""
    import pyarrow.parquet as pq

    part = path.with_name(f".{path.name}.part")
    with pq.ParquetWriter(part, table_of([]).schema, compression="zstd") as writer:
        yield writer
    _settle(part, path)


def write_text(path: Path, text: str) -> None:
    """Write a small file in the same way."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    _settle(part, path)


def groups_of(path: Path) -> Iterator[Any]:
    """Read a file row group by row group, as Arrow tables."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


@dataclass(frozen=True)
class Wanted:
    """Which events of a file; what is None asks nothing."""

    customers: Collection[int] | None = None
    identifiers: Collection[str] | None = None
    ids: Collection[int] | None = None
    above: int | None = None  # Ids, both bounds left out.
    below: int | None = None
    event_name: str | None = None
    start: datetime | None = None  # Of the timestamps in [start, end).
    end: datetime | None = None
    hours: Collection[datetime] | None = None  # In which they lie, UTC.


def find_rows(
    path: Path, wanted: Wanted, columns: Sequence[str] = COLUMNS
) -> Iterator[list[Mapping[str, Any]]]:
    """Find rows, some thousands at a time; only row groups whose bounds admit them are read."""
    import pyarrow.dataset as ds

    batches = ds.dataset(path, format="parquet").to_batches(
        list(columns), filter=_condition(wanted), batch_size=_ROWS_AT_ONCE, batch_readahead=1
    )
    for batch in batches:
        if batch.num_rows:
            yield batch.to_pylist()


def newest_rows(path: Path, wanted: Wanted, most: int) -> list[Mapping[str, Any]]:
    """Find the rows with the highest ids, the highest first."""
    chunks = find_rows(path, wanted, ["id"])
    ids = heapq.nlargest(most, (row["id"] for chunk in chunks for row in chunk))
    rows = [row for chunk in find_rows(path, replace(wanted, ids=ids)) for row in chunk]
    return sorted(rows, key=lambda row: -row["id"])


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    sha256 = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            sha256.update(chunk)
    return sha256.hexdigest()


def _condition(wanted: Wanted) -> Any:
    """Say what is wanted as an expression of Arrow's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    instant, column = pa.timestamp("us", "UTC"), pc.field
    asked: list[Any] = [pc.scalar(True)]
    for name, values in (
        ("customer_id", wanted.customers),
        ("identifier", wanted.identifiers),
        ("id", wanted.ids),
    ):
        if values is not None:
            kind = pa.string() if name == "identifier" else pa.int64()
            asked.append(column(name).isin(pa.array(sorted(values), kind)))
    if wanted.above is not None:
        asked.append(column("id") > wanted.above)
    if wanted.below is not None:
        asked.append(column("id") < wanted.below)
    if wanted.event_name is not None:
        asked.append(column("event_name") == wanted.event_name)
    if wanted.start is not None:
        asked.append(column("timestamp") >= pa.scalar(wanted.start, instant))
    if wanted.end is not None:
        asked.append(column("timestamp") < pa.scalar(wanted.end, instant))
    if wanted.hours is not None:
        hour = pc.floor_temporal(column("timestamp"), unit="hour")
        asked.append(hour.isin(pa.array(sorted(wanted.hours), instant)))
    return reduce(and_, asked)


def _settle(part: Path, path: Path) -> None:
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
