"""Bring a migration pack into an empty installation: all of it and proven, or nothing.

Rows are read, hashed and copied as they come, in one transaction. It commits only if every file is
what the manifest says, every reference finds its row, the state hash and the journal's digest are
those of the pack, and the journal's chain holds. The guards are off meanwhile, and stand again
before it commits.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import msgspec
from django.contrib.auth.models import Group
from django.db import DataError, IntegrityError, connection, transaction
from psycopg import DataError as DriverDataError

from billing_project.console.portable.packing import (
    FORMATS,
    VERSION,
    OnRows,
    applied_migrations,
    extracted,
    journal_digest,
)
from billing_project.console.portable.state import of_content, state_hash
from billing_project.console.portable.tables import LOCKED, SEEDED, Table, carried_tables
from billing_project.console.portable.unguarded import unguarded
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.users import ensure_roles
from credits.selectors.remembered import forget_rules
from metering.services.storing import ensure_partitions, forget_months
from revrec.selectors.seals import stored_seal_faults
from revrec.selectors.verifying import chain_faults

_CHUNK = 1 << 20
_SHOWN = 5
_json = msgspec.json.Decoder()


class BadPack(Invalid):
    """The file is not a whole pack, or not what its manifest says."""

    code = "bad_pack"


@contextmanager
def opened(path: Path) -> Iterator[tuple[ZipFile, dict[str, Any]]]:
    """Open a pack and read its manifest.

    Raises:
        BadPack: the file is cut, is no pack, or is one that this release cannot read.
    """
    try:
        with ZipFile(path) as zipped:
            manifest = json.loads(zipped.read("manifest.json"))
            if manifest.get("pack") != VERSION or manifest.get("format") not in FORMATS:
                raise BadPack(
                    f"{path.name} is {manifest.get('pack')!r} in {manifest.get('format')!r}; this"
                    f" release reads {VERSION} in {' or '.join(FORMATS)}"
                )
            yield zipped, manifest
    except FileNotFoundError as error:
        raise BadPack(f"there is no file {path}") from error
    except (BadZipFile, KeyError, ValueError, EOFError, zlib.error) as error:
        raise BadPack(f"{path.name} is cut or is no migration pack: {error}") from error


def load_pack(path: Path, on_rows: OnRows = lambda table, rows: None) -> dict[str, Any]:
    """Fill this empty installation from a pack; return its manifest.

    Raises:
        BadPack: cut, changed, or of another format.
        Conflict: this installation holds something, or has another version of the tables.
    """
    with opened(path) as (zipped, manifest), transaction.atomic():
        tables = carried_tables()
        refuse_other_schema(manifest)
        files = _files_of(zipped, manifest, tables)
        refuse_filled(tables)
        ensure_roles()
        _load_all(zipped, manifest, files, on_rows)
        _give_roles(manifest)
        prove(manifest, on_rows)
    return manifest


def refuse_other_schema(manifest: Mapping[str, Any]) -> None:
    """Take only what was written by the same migrations, and say which are missing where.

    Raises:
        Conflict: named with every migration that one side lacks.
    """
    theirs, ours = set(manifest["migrations"]), set(applied_migrations())
    if missing := sorted(theirs - ours):
        raise Conflict(
            f"the pack is of a newer release; this installation lacks {', '.join(missing)}:"
            " install that release and run migrate",
            code="newer_schema",
        )
    if missing := sorted(ours - theirs):
        raise Conflict(
            f"the pack is of an older release, without {', '.join(missing)}: import it with the"
            " release that wrote it, then upgrade",
            code="older_schema",
        )


def refuse_filled(tables: list[Table]) -> None:
    """Take an installation that was only migrated, and no other.

    Raises:
        Conflict: named with the tables that hold rows.
    """
    with connection.cursor() as cursor:
        filled = []
        for table in tables:
            cursor.execute(f'SELECT EXISTS (SELECT FROM "{table.name}")')  # noqa: S608
            if cursor.fetchone()[0] and table.name not in SEEDED:
                filled.append(table.name)
        cursor.execute("SELECT EXISTS (SELECT FROM number_series WHERE last_number > 0)")
        if cursor.fetchone()[0]:
            filled.append("number_series")
    if filled:
        named = ", ".join(filled[:_SHOWN]) + (" and others" if len(filled) > _SHOWN else "")
        raise Conflict(f"this installation is not empty: {named}", code="not_empty")


def _files_of(
    zipped: ZipFile, manifest: Mapping[str, Any], tables: list[Table]
) -> list[tuple[str, Table]]:
    """Pair every table with its file.

    Raises:
        BadPack: a file that is missing, or that nobody knows.
    """
    known = {table.name: table for table in tables}
    files = {name: one["table"] for name, one in manifest["files"].items() if "table" in one}
    present = set(zipped.namelist())
    faults = [f"{name} is missing" for name in manifest["files"] if name not in present]
    faults += [
        f"{name} is not in the manifest"
        for name in sorted(present - {"manifest.json", *manifest["files"]})
    ]
    faults += [f"there is no table {name}" for name in files.values() if name not in known]
    faults += [f"{name} has no file" for name in known if name not in set(files.values())]
    if faults:
        raise BadPack("; ".join(faults[:_SHOWN]))
    return [(name, known[table]) for name, table in files.items()]


def _load_all(
    zipped: ZipFile, manifest: Mapping[str, Any], files: list[tuple[str, Table]], on_rows: OnRows
) -> None:
    _make_partitions(zipped, manifest)
    filled = {table.name for name, table in files if manifest["files"][name]["rows"]}
    with unguarded(filled | SEEDED):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL TimeZone = 'UTC'")
            for name in SEEDED:
                cursor.execute(f'DELETE FROM "{name}"')  # noqa: S608 - own names
        for name, table in files:
            load_table(zipped, name, table, manifest["files"][name], on_rows)
        _set_sequences(manifest)
    refuse_unlocked(datetime.fromisoformat(manifest["made_at"]))
    forget_rules()
    forget_months()


def refuse_unlocked(at: datetime) -> None:
    """Let nothing arrive that lets somebody in, whoever wrote the pack.

    Raises:
        BadPack: a password, a key, an endpoint or the like that is not as packs carry it.
    """
    with connection.cursor() as cursor:
        for (table, column), locked in LOCKED.items():
            cursor.execute(
                f'SELECT EXISTS (SELECT FROM "{table}" WHERE "{column}" IS DISTINCT FROM {locked})',  # noqa: S608 - own names
                {"at": at},
            )
            if cursor.fetchone()[0]:
                raise BadPack(f"tables/{table}: a {column} opens something; packs carry none")


def load_table(
    zipped: ZipFile,
    name: str,
    table: Table,
    listed: Mapping[str, Any],
    on_rows: OnRows,
    keep: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] = lambda row: row,
) -> None:
    """Copy one file's rows into its table, and hold the file against the manifest.

    Args:
        keep: Returns a row as it is written, or None where it is left out.
    """
    columns = [column.name for column in table.columns]
    digest, rows = hashlib.sha256(), 0
    try:
        with connection.cursor() as cursor, cursor.copy(table.copy()) as copy:
            for row in rows_of(zipped, name, digest):
                if row.keys() != set(columns):
                    raise BadPack(f"{name}, row {rows + 1}: its columns are not the table's")
                rows += 1
                if (kept := keep(row)) is not None:
                    copy.write_row([kept[column] for column in columns])
                if rows % 10_000 == 0:
                    on_rows(table.name, 10_000)
    except (DataError, IntegrityError, DriverDataError) as error:
        raise BadPack(f"{name}: {str(error).splitlines()[0]}") from error
    on_rows(table.name, rows % 10_000)
    if digest.hexdigest() != listed["sha256"] or rows != listed["rows"]:
        raise BadPack(f"{name} is not the file that was packed")


def rows_of(zipped: ZipFile, name: str, digest: Any) -> Iterator[dict[str, Any]]:
    """Read a file's rows one at a time, and hash its bytes."""
    if name.endswith(".parquet"):
        yield from _parquet_rows(zipped, name, digest)
        return
    with zipped.open(name) as member:
        for number, line in enumerate(member, start=1):
            digest.update(line)
            try:
                row = _json.decode(line)
            except msgspec.DecodeError as error:
                raise BadPack(f"{name}, line {number}: {error}") from error
            if not isinstance(row, dict):
                raise BadPack(f"{name}, line {number}: not an object")
            yield row


def _parquet_rows(zipped: ZipFile, name: str, digest: Any) -> Iterator[dict[str, Any]]:
    import pyarrow as pa  # Heavy: only who imports Parquet loads it.
    import pyarrow.parquet as pq

    with closing(extracted(zipped, name)) as copy:
        while chunk := copy.read(_CHUNK):
            digest.update(chunk)
        copy.seek(0)
        try:
            with pq.ParquetFile(copy) as file:
                for batch in file.iter_batches(2_000):
                    yield from batch.to_pylist()
        except pa.ArrowInvalid as error:
            raise BadPack(f"{name}: {error}") from error


def _make_partitions(zipped: ZipFile, manifest: Mapping[str, Any]) -> None:
    """Make the months that the pack's batches of events name."""
    name = f"tables/event_batch.{manifest['format']}"
    months: set[tuple[int, int]] = set()
    for row in rows_of(zipped, name, hashlib.sha256()):
        first, last = _instant(row["first_timestamp"]), _instant(row["last_timestamp"])
        while (first.year, first.month) <= (last.year, last.month):
            months.add((first.year, first.month))
            first = datetime(first.year + first.month // 12, first.month % 12 + 1, 1, tzinfo=UTC)
    ensure_partitions(datetime(year, month, 1, tzinfo=UTC) for year, month in sorted(months))


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _set_sequences(manifest: Mapping[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema()")
        ours = {name for (name,) in cursor.fetchall()}
        for name, value in manifest["sequences"].items():
            if name in ours and not name.startswith(("django_", "auth_")):
                cursor.execute("SELECT setval(%s::regclass, %s)", [f'"{name}"', int(value)])


def _give_roles(manifest: Mapping[str, Any]) -> None:
    people = User.objects.in_bulk(field_name="username")
    roles = {role.name: role for role in Group.objects.all()}
    for username, role in manifest["user_role"]:
        if username in people and role in roles:
            people[username].groups.add(roles[role])


def prove(manifest: Mapping[str, Any], on_rows: OnRows) -> None:
    """Hold what was loaded against what the pack says of itself.

    Raises:
        BadPack: another state, another journal, or a chain that does not hold.
    """
    expected = of_content(manifest["state"])
    found = state_hash(on_rows)
    if differing := found.differing(expected):
        raise BadPack(f"the state hash differs in {', '.join(differing)}")
    if expected.sha256 != manifest["state"]["sha256"]:
        raise BadPack("the manifest's state hash is not that of its parts")
    if journal_digest() != manifest["journal"]:
        raise BadPack("the journal is not the one that was packed")
    faults = [*islice(chain_faults(), _SHOWN), *islice(stored_seal_faults(), _SHOWN)]
    if faults:
        raise BadPack(
            f"the journal's chain does not hold: {faults[0].subject}: {faults[0].message}"
        )
