"""Events as a Parquet file: rows in, a whole file out, and single rows found again.

Rows are sorted by customer and identifier, so that a row group's statistics tell whether it can
hold an event. Properties are JSON text: every digit that was sent stays. No database.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
ROWS = 50_000  # Of a row group: what a look-up reads at most.
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


def find_row(path: Path, customer_id: int, identifier: str) -> Mapping[str, Any] | None:
    """Find one event; only row groups whose bounds admit it are read."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            if not _admits(file.metadata.row_group(number), customer_id, identifier):
                continue
            table = file.read_row_group(number)
            is_it = pc.and_(
                pc.equal(table["customer_id"], customer_id),
                pc.equal(table["identifier"], identifier),
            )
            if rows := table.filter(is_it).to_pylist():
                row: Mapping[str, Any] = rows[0]
                return row
    return None


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    sha256 = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            sha256.update(chunk)
    return sha256.hexdigest()


def _admits(group: Any, customer_id: int, identifier: str) -> bool:
    bounds = {
        group.column(i).path_in_schema: group.column(i).statistics for i in range(group.num_columns)
    }
    customers, identifiers = bounds["customer_id"], bounds["identifier"]
    if not customers.min <= customer_id <= customers.max:
        return False
    if customers.min != customers.max:
        return True  # Identifiers begin anew with each customer; their bounds say little.
    return bool(identifiers.min <= identifier <= identifiers.max)


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
