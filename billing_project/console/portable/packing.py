"""Write a migration pack: every row of an installation, in one file that says what it holds.

All rows are read in one state of the database and written as they are read. `loading` brings them
into an empty installation; `tables` says what is carried.
"""

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from billing_project.console.portable.state import StateHash, as_content, state_hash
from billing_project.console.portable.tables import (
    LEFT_OUT,
    TO_SET_AGAIN,
    Table,
    carried_tables,
)
from billing_project.kernel.errors import Conflict
from billing_project.kernel.exporting import Column, Row, pieces
from billing_project.kernel.sessions import one_state
from metering.selectors.archive import archived_starts

VERSION = "billing-migration-1"
FORMATS = ("jsonl", "parquet")
OnRows = Callable[[str, int], None]  # Which table, and how many rows more.

_ROWS_AT_ONCE = 2_000
_SEQUENCES = """
SELECT sequencename, last_value FROM pg_sequences
 WHERE schemaname = current_schema() AND last_value IS NOT NULL ORDER BY sequencename
"""
_JOURNAL = "SELECT entry_sha256 FROM journal_entry ORDER BY entity_id, chain_position, id"
ROLES = """
SELECT u.username, g.name FROM kernel_user_groups m JOIN kernel_user u ON u.id = m.user_id
  JOIN auth_group g ON g.id = m.group_id ORDER BY 1, 2
"""
_README = """This is a whole billing installation, to be carried to an empty one:

    manage.py migrate && manage.py setup_roles && manage.py import_pack {name}

manifest.json says what each file is, with its sha256; fields.csv what each column means. Cells are
exact: numbers with decimals, instants (UTC) and JSON are text, an absent value is null. Nothing in
here lets anybody in. To be set again afterwards:

{again}
"""


@dataclass
class _Archive:
    """A pack while it is written."""

    zip: ZipFile
    at: datetime
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, name: str, parts: Iterable[bytes], **facts: Any) -> None:
        """Write one file piece by piece, and list it."""
        digest, size = hashlib.sha256(), 0
        info = ZipInfo(name, self.at.astimezone(UTC).timetuple()[:6])
        info.compress_type = ZIP_STORED if name.endswith(".parquet") else ZIP_DEFLATED
        with self.zip.open(info, "w", force_zip64=True) as member:
            for part in parts:
                member.write(part)
                digest.update(part)
                size += len(part)
        self.listed[name] = {"sha256": digest.hexdigest(), "bytes": size, **facts}


def write_migration_pack(
    path: Path, kind: str, at: datetime, on_rows: OnRows = lambda table, rows: None
) -> dict[str, Any]:
    """Write everything to one file, which has its name once it is whole; return the manifest.

    Raises:
        Conflict: raw events of a month are archived; restore it first.
    """
    if months := sorted(archived_starts()):
        named = ", ".join(f"{month:%Y-%m}" for month in months)
        raise Conflict(f"restore the archived months first: {named}", code="month_archived")
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        half.touch(mode=0o600)  # It tells everything of everybody: whose it is reads it.
        with one_state(), ZipFile(half, "w") as zipped:
            manifest = _write(_Archive(zipped, at), path.name, kind, on_rows)
        with half.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(half, path)
    finally:
        with suppress(FileNotFoundError):
            half.unlink()
    return manifest


def _write(archive: _Archive, name: str, kind: str, on_rows: OnRows) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'UTC'")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SET LOCAL cursor_tuple_fraction = 1")  # Every row is read, not the first.
    tables = carried_tables()
    for table in tables:
        _add_table(archive, table, kind, on_rows)
    archive.add("fields.csv", [_dictionary(tables)], about="what each column of each table means")
    again = "\n".join(f"- {one}" for one in TO_SET_AGAIN)
    archive.add("README.txt", [_README.format(name=name, again=again).encode()], about="to read")
    manifest = _manifest(archive, kind, state_hash(on_rows))
    with archive.zip.open(ZipInfo("manifest.json"), "w") as member:
        member.write(json.dumps(manifest, ensure_ascii=False, indent=1).encode())
    return manifest


def _add_table(archive: _Archive, table: Table, kind: str, on_rows: OnRows) -> None:
    rows = 0

    def counted() -> Iterator[Row]:
        nonlocal rows
        names = [column.name for column in table.columns]
        with connection.chunked_cursor() as cursor:
            cursor.execute(table.select(), {"at": archive.at})
            while some := cursor.fetchmany(_ROWS_AT_ONCE):
                rows += len(some)
                on_rows(table.name, len(some))
                yield from (dict(zip(names, row, strict=True)) for row in some)

    columns = [Column(column.name, column.kind) for column in table.columns]
    name = f"tables/{table.name}.{kind}"
    archive.add(name, pieces(kind, columns, counted()), table=table.name, about=table.about)
    archive.listed[name]["rows"] = rows


def _dictionary(tables: Iterable[Table]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["table", "column", "type", "may be empty", "meaning"])
    for table in tables:
        for one in table.columns:
            empty = "yes" if one.may_be_empty else "no"
            writer.writerow([table.name, one.name, one.sql_type, empty, one.meaning])
    return out.getvalue().encode()


def _manifest(archive: _Archive, kind: str, state: StateHash) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(_SEQUENCES)
        sequences = dict(cursor.fetchall())
        cursor.execute(ROLES)
        roles = [list(row) for row in cursor.fetchall()]
    return {
        "pack": VERSION,
        "made_at": archive.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "format": kind,
        "migrations": applied_migrations(),
        "state": as_content(state),
        "journal": journal_digest(),
        "sequences": sequences,
        "user_role": roles,
        "left_out": LEFT_OUT,
        "to_set_again": list(TO_SET_AGAIN),
        "files": archive.listed,
    }


def applied_migrations() -> list[str]:
    """Name every migration that made this database: the version of what a pack's columns mean."""
    return sorted(
        f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations()
    )


def journal_digest() -> dict[str, Any]:
    """Hash the hashes of all journal entries, in their order."""
    digest, count = hashlib.sha256(), 0
    with connection.chunked_cursor() as cursor:
        cursor.execute(_JOURNAL)
        while some := cursor.fetchmany(_ROWS_AT_ONCE):
            for (sha256,) in some:
                digest.update(sha256.encode())
            count += len(some)
    return {"entries": count, "sha256": digest.hexdigest()}


def extracted(zipped: ZipFile, name: str) -> Any:
    """Bring one file out of a pack to where it can be read from any place; gone when closed."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - its caller closes it
    with zipped.open(name) as member:
        shutil.copyfileobj(member, copy, 1 << 20)
    copy.seek(0)
    return copy
