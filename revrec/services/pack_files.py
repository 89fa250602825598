"""Write the files of an audit pack: every row from one state of the database.

See `pack_sql` for what is chosen, and `packs` for who asks for one and when it is made.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo
from zoneinfo import ZoneInfo

from django.db import connection, transaction

from billing_project.kernel.exporting import Column, pieces
from billing_project.kernel.period import DAY
from invoicing.models import MAIN_ENTITY, CreditNote, CreditNoteDocument, Invoice, LegalEntity
from invoicing.selectors.entities import entity_id_of, seller_at
from invoicing.services.documents import keep_document
from metering.reading_sql import IS_AGGREGATED, select_rows
from metering.selectors.archive import refuse_archived
from metering.selectors.meters import meter_rules
from revrec import pack_books_sql, pack_money_sql, pack_sql
from revrec.models import AuditPack, LedgerSeal
from revrec.pack_sql import PackFile
from revrec.selectors.journal import chain_head
from revrec.selectors.zone import books_zone

_ROWS_AT_ONCE = 2_000
_DOCUMENTS_AT_ONCE = 20
_VERIFIER = Path(__file__).resolve().parent.parent / "pack_verifier"
_MAIN = b"from verify.__main__ import main\n\nmain()\n"  # Makes the ZIP itself run.
_README = """This file holds everything behind {scope}.

fields.csv says what each column of each file means, manifest.json what each file is. To add all of
it up again, from raw events to the journal, with Python 3.9 or newer and nothing else:

    python {name}

Amounts of money are in minor units, quantities in the unit beside them, instants in UTC.
"""
_FILES = (
    *(pack_sql.CUSTOMERS, pack_sql.METERS, pack_sql.EVENTS, pack_sql.ADJUSTMENTS),
    *(pack_sql.UNMATCHED, pack_sql.WINDOWS, pack_sql.READING),
    *(*pack_money_sql.FILES, *pack_books_sql.FILES),
)
FILE_COUNT = len(_FILES) + 3  # And sealed entries, documents, words.


def keep_documents(pack: AuditPack, at: datetime) -> None:
    """Have each invoice and note of the pack set, where nobody asked for its document before."""
    with transaction.atomic(), connection.cursor() as cursor:
        _choose(cursor, pack)
        cursor.execute("SELECT id FROM pack_invoice")
        ids = [pk for (pk,) in cursor.fetchall()]
        transaction.set_rollback(True)
    for invoice in Invoice.objects.filter(pk__in=ids, document=None).select_related("customer"):
        keep_document(subject=invoice, at=at)
    for note in CreditNote.objects.filter(invoice__in=ids, document=None).select_related():
        keep_document(subject=note, at=at)


def _choose(cursor: Any, pack: AuditPack) -> None:
    for statement in pack_sql.CHOICE:
        cursor.execute(statement, _params(pack))
    cursor.execute(
        "SELECT min(start_at), max(end_at) FROM pack_range GROUP BY date_trunc('month', start_at)"
    )
    for start, end in cursor.fetchall():
        refuse_archived(start, end)


def _params(pack: AuditPack) -> dict[str, Any]:
    return {
        "start": pack.start_at, "end": pack.end_at, "customer": pack.customer_id,
        "zone": books_zone(),
        "invoices": list(pack.invoices), "is_of_all": pack.customer_id is None,
    }  # fmt: skip


@dataclass
class Archive:
    """A pack while it is written: its files with what the manifest says of them."""

    zip: ZipFile
    at: datetime
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)
    row_count: int = 0

    def add(self, name: str, parts: Iterable[bytes], about: str, **facts: Any) -> None:
        """Write one file piece by piece, and list it."""
        digest, size = hashlib.sha256(), 0
        with self.zip.open(self.info(name), "w", force_zip64=True) as member:
            for part in parts:
                member.write(part)
                digest.update(part)
                size += len(part)
        listed = {"about": about, "sha256": digest.hexdigest(), "bytes": size, **facts}
        self.listed[name] = listed

    def add_rows(self, file: PackFile, rows: Iterable[Sequence[Any]]) -> None:
        """Write one file of rows as CSV."""
        names, count = [name for name, _ in file.fields], 0

        def counted() -> Iterator[dict[str, Any]]:
            nonlocal count
            for row in rows:
                count += 1
                yield dict(zip(names, row, strict=True))

        parts = pieces("csv", [Column(name) for name in names], counted())
        self.add(f"{file.name}.csv", parts, file.about)
        self.listed[f"{file.name}.csv"]["rows"] = count
        self.row_count += count

    def info(self, name: str) -> ZipInfo:
        """Name a file; every one has the pack's own instant."""
        info = ZipInfo(name, self.at.astimezone(UTC).timetuple()[:6])
        info.compress_type = ZIP_DEFLATED
        return info


def write_pack(pack: AuditPack, path: Path, at: datetime) -> Archive:
    """Write the whole pack from one state of the database."""
    is_outermost = not connection.in_atomic_block
    with (
        transaction.atomic(), connection.cursor() as cursor, ZipFile(path, "w") as zipped,
        closing(connection.copy()) as other,
    ):  # fmt: skip
        if is_outermost:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SET LOCAL cursor_tuple_fraction = 1")  # Every row is read, not the first.
        _choose(cursor, pack)
        archive = Archive(zipped, at)
        for done, file in enumerate(_FILES):
            _tell(other, pack, done)
            archive.add_rows(file, _rows_of(file, pack))
        _tell(other, pack, len(_FILES))
        archive.add("journal_sealed.jsonl", _sealed(), "what the hash of each entry covers")
        _tell(other, pack, len(_FILES) + 1)
        _add_documents(archive)
        _add_words(archive, pack)
        zipped.writestr(archive.info("manifest.json"), _manifest(archive, pack, at))
        transaction.set_rollback(True)  # The choice goes; nothing else was written.
    return archive


def scope_of(pack: AuditPack) -> str:
    """Say what a pack is of."""
    if pack.invoices:
        return f"invoices {', '.join(pack.invoices)}"
    whom = pack.customer.external_id if pack.customer else "all customers"
    assert pack.start_at is not None
    assert pack.end_at is not None
    zone = ZoneInfo(books_zone())
    first, over = pack.start_at.astimezone(zone), pack.end_at.astimezone(zone)
    if first.time() == over.time() == time.min:
        return f"{whom}, {first:%Y-%m-%d} to {over - DAY:%Y-%m-%d}"
    return f"{whom} from {_instant(first)} to {_instant(over)}"


def _tell(other: Any, pack: AuditPack, done: int) -> None:
    """Say how far it is, beside the transaction that reads."""
    with other.cursor() as cursor:
        cursor.execute("UPDATE audit_pack SET files_done = %s WHERE id = %s", [done, pack.pk])


def _rows_of(file: PackFile, pack: AuditPack) -> Iterator[tuple[Any, ...]]:
    return _readings() if file is pack_sql.READING else _read(file.query, _params(pack))


def _readings() -> Iterator[tuple[Any, ...]]:
    """Read which events count where, by the meters' own definition."""
    events = pack_sql.READ_EVENTS.format(is_aggregated=IS_AGGREGATED)
    texts, params = [], dict[str, Any]()
    for rule in meter_rules():
        rows = select_rows(rule, events)
        value = "value::text" if rule.aggregation == "unique" else "trim_scale(value)::text"
        texts.append(pack_sql.AS_TEXT.format(value=value, rows=rows.text))
        params |= rows.params
    if not texts:
        return iter(())
    with connection.cursor() as cursor:
        cursor.execute(pack_sql.KEEP_READINGS.format(readings=" UNION ALL ".join(texts)), params)
    return _read(pack_sql.READINGS, {})


def _read(
    query: str, params: dict[str, Any], at_once: int = _ROWS_AT_ONCE
) -> Iterator[tuple[Any, ...]]:
    """Read rows as they are written out, never all at once."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(query, params)
        while rows := cursor.fetchmany(at_once):
            yield from rows


def _sealed() -> Iterator[bytes]:
    names = ("entity", "entry", "position", "sha256", "previous_sha256")
    for *head, sealed, postings in _read(pack_books_sql.SEALED, {}):
        said = {
            **dict(zip(names, head, strict=True)),
            "sealed": json.loads(sealed), "postings": json.loads(postings),
        }  # fmt: skip
        yield json.dumps(said, ensure_ascii=False).encode() + b"\n"


def _add_documents(archive: Archive) -> None:
    """Add the documents that customers have."""
    for number, content, sha256 in _read(pack_money_sql.DOCUMENTS, {}, _DOCUMENTS_AT_ONCE):
        about = f"invoice {number} as its customer has it; kept under {sha256}"
        archive.add(f"documents/{number}.pdf", [bytes(content)], about)
    ids = [pk for (pk,) in _read(pack_money_sql.NOTES_OF_PACK, {})]
    for row in (
        CreditNoteDocument.objects.filter(credit_note__in=ids)
        .select_related()
        .iterator(_DOCUMENTS_AT_ONCE)
    ):
        number = row.credit_note.number
        about = f"credit note {number} as its customer has it; kept under {row.sha256}"
        archive.add(f"documents/{number}.pdf", [bytes(row.content)], about)


def _add_words(archive: Archive, pack: AuditPack) -> None:
    """Add the dictionary of fields, the seals, the verifier, and how to use all that."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["file", "column", "meaning"])
    writer.writerows([f"{one.name}.csv", *pair] for one in _FILES for pair in one.fields)
    archive.add("fields.csv", [out.getvalue().encode()], "what each column means")
    for seal in LedgerSeal.objects.order_by("pk").select_related("period"):
        said = {"manifest": seal.manifest, "signature": seal.signature, "key": seal.public_key}
        about = f"the journal as it was signed at the close of {seal.period}"
        archive.add(f"seals/{seal.period}.json", [json.dumps(said, indent=1).encode()], about)
    readme = _README.format(scope=scope_of(pack), name=pack.file_name)
    archive.add("README.txt", [readme.encode()], "how to read this")
    for path in sorted(_VERIFIER.glob("*.py")):
        archive.add(f"verify/{path.name}", [path.read_bytes()], "adds everything up again")
    archive.add("__main__.py", [_MAIN], "lets the pack verify itself: python PACK.zip")


def _manifest(archive: Archive, pack: AuditPack, at: datetime) -> str:
    heads = {one.code: chain_head(one.pk) for one in LegalEntity.objects.order_by("pk")}
    said = {
        "pack": "billing-audit-1",
        "scope": {
            "customer": pack.customer.external_id if pack.customer else None,
            "start": _instant(pack.start_at), "end": _instant(pack.end_at),
            "invoices": list(pack.invoices),
        },
        "scope_in_words": scope_of(pack),
        "entity": seller_at(_seller_of(pack), at).name,
        "asked_by": pack.asked_by.username,
        "reason": pack.reason,
        "made_at": _instant(at),
        "journal_heads": {
            code: {"position": position, "sha256": sha256}
            for code, (position, sha256) in heads.items()
        },
        "files": archive.listed,
    }  # fmt: skip
    return json.dumps(said, ensure_ascii=False, indent=1)


def _seller_of(pack: AuditPack) -> int:
    """Return the legal entity whose books a pack is out of: its customer's, or the main one."""
    return entity_id_of(pack.customer) if pack.customer else MAIN_ENTITY


def _instant(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None
