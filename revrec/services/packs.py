"""Make audit packs: one file with everything behind a span or some invoices, and its own verifier.

All rows are read in one state of the database. The file appears under its name once it is whole;
a worker that dies leaves a pack that the next run makes anew.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from django.conf import settings
from django.db import connection, transaction

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import BillingError, Conflict, Invalid, NotAllowed
from billing_project.kernel.exporting import Column, pieces
from billing_project.kernel.models import User
from billing_project.kernel.period import DAY
from billing_project.kernel.sessions import held
from invoicing.models import MAIN_ENTITY, CreditNote, CreditNoteDocument, Invoice
from invoicing.selectors import find_invoice, is_issued
from invoicing.selectors.entities import entity_id_of, seller_at
from invoicing.services.documents import keep_invoice_document, keep_note_document
from metering.models import Customer
from metering.reading_sql import IS_AGGREGATED, select_rows
from metering.selectors.archive import refuse_archived
from metering.selectors.meters import meter_rules
from revrec import pack_money_sql, pack_sql
from revrec.models import AuditPack, LedgerSeal, PackState
from revrec.pack_sql import PackFile
from revrec.selectors.journal import chain_head

MOST_INVOICES = 1_000
_ROWS_AT_ONCE = 2_000
_VERIFIER = Path(__file__).resolve().parent.parent / "pack_verifier.py"
_README = """This file holds everything behind {scope}.

fields.csv says what each column of each file means, manifest.json what each file is. To add all of
it up again, from raw events to the journal, with Python 3.9 or newer and nothing else:

    python verify.py {name}

Amounts of money are in minor units, quantities in the unit beside them, instants in UTC.
"""
_FILES = (
    *(pack_sql.CUSTOMERS, pack_sql.METERS, pack_sql.EVENTS, pack_sql.ADJUSTMENTS),
    *(pack_sql.UNMATCHED, pack_sql.WINDOWS, pack_sql.READING, *pack_money_sql.FILES),
)


@dataclass(frozen=True)
class Wish:
    """What a pack is of: a span, of one customer or of all; or invoices by their numbers."""

    start: datetime | None = None
    end: datetime | None = None
    customer: Customer | None = None
    invoices: tuple[str, ...] = ()


@transaction.atomic
def ask_for_pack(*, wish: Wish, reason: str, key: str, by: User, at: datetime) -> AuditPack:
    """Queue an audit pack; the same key again is the same pack.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: neither a span nor invoices, or both; a span that ends before it begins.
        NotFound: no such invoice.
        MonthArchived: raw events of the span are archived; restore them first.
    """
    if not by.is_service and not by.has_perm("revrec.make_auditpack"):
        raise NotAllowed(f"{by.username} may not make audit packs")
    _check(wish)
    pack, is_new = AuditPack.objects.get_or_create(
        source_key=key,
        defaults={
            "customer": wish.customer, "start_at": wish.start, "end_at": wish.end,
            "invoices": list(wish.invoices), "reason": reason, "asked_by": by, "asked_at": at,
        },
    )  # fmt: skip
    if is_new:
        audit.record(by=by, at=at, action="ask_for_pack", subject=pack, reason=reason)
    return pack


def _check(wish: Wish) -> None:
    if wish.invoices:
        if wish.start or wish.end or wish.customer:
            raise Invalid("a pack is of a span or of invoices, not of both", field="invoices")
        if len(wish.invoices) > MOST_INVOICES:
            raise Invalid(f"at most {MOST_INVOICES} invoices", field="invoices")
        for number in wish.invoices:
            if not is_issued(find_invoice(number)):
                raise Conflict(f"{number} is not issued")
        return
    if wish.start is None or wish.end is None:
        raise Invalid("name a start and an end, or invoices", field="start")
    if wish.end <= wish.start:
        raise Invalid("start comes before end", field="start")
    refuse_archived(wish.start, wish.end)


def make_waiting_packs(*, now: Callable[[], datetime]) -> int:
    """Make the packs that wait or were left half made; return how many are done now."""
    ids = AuditPack.objects.filter(state__in=[PackState.WAITING, PackState.RUNNING])

    def make(pk: int) -> int:
        with held(f"audit_pack:{pk}") as is_ours:
            pack = AuditPack.objects.get(pk=pk)
            return 0 if not is_ours or not pack.is_open else make_pack(pack=pack, now=now)

    return each_apart(ids.order_by("id").values_list("pk", flat=True), make, step="audit pack")


def make_pack(*, pack: AuditPack, now: Callable[[], datetime]) -> int:
    """Make one pack; return 1 once its file is there, 0 if it cannot be made."""
    pack.state, pack.files_done, pack.file_count = PackState.RUNNING, 0, len(_FILES) + 3
    pack.save(update_fields=["state", "files_done", "file_count"])
    path = path_of(pack)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".part")
    try:
        _keep_documents(pack, now())
        written = _write(pack, half, now())
    except BillingError as error:
        half.unlink(missing_ok=True)
        pack.state, pack.fault, pack.finished_at = PackState.FAILED, error.message[:500], now()
        pack.save(update_fields=["state", "fault", "finished_at"])
        return 0
    with half.open("rb") as stream:
        pack.content_sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    pack.byte_count, pack.row_count = half.stat().st_size, written.row_count
    os.replace(half, path)
    pack.state, pack.finished_at, pack.files_done = PackState.DONE, now(), pack.file_count
    pack.save()
    return 1


def path_of(pack: AuditPack) -> Path:
    """Return where a pack's file is, or will be."""
    return Path(settings.PACKS_DIR) / pack.file_name


def scope_of(pack: AuditPack) -> str:
    """Say what a pack is of."""
    if pack.invoices:
        return f"invoices {', '.join(pack.invoices)}"
    whom = pack.customer.external_id if pack.customer else "all customers"
    assert pack.start_at is not None
    assert pack.end_at is not None
    first, over = pack.start_at.astimezone(UTC), pack.end_at.astimezone(UTC)
    if first.time() == over.time() == time.min:
        return f"{whom}, {first:%Y-%m-%d} to {over - DAY:%Y-%m-%d}"
    return f"{whom} from {_instant(first)} to {_instant(over)}"


def take_file(*, pack: AuditPack, by: User, at: datetime) -> BinaryIO:
    """Open a pack's file, and record who took it out.

    Raises:
        Conflict: it is not made yet, could not be made, or its file was removed.
    """
    if pack.state != PackState.DONE:
        raise Conflict(f"this pack is {pack.state}", code="pack_not_done")
    try:
        stream = path_of(pack).open("rb")
    except FileNotFoundError as error:
        raise Conflict(
            "the pack's file was removed here; ask for a new one", code="pack_removed"
        ) from error
    audit.record(by=by, at=at, action="download_audit_pack", subject=pack)
    return stream


def _keep_documents(pack: AuditPack, at: datetime) -> None:
    """Have each invoice and note of the pack set, where nobody asked for its document before."""
    with transaction.atomic(), connection.cursor() as cursor:
        _choose(cursor, pack)
        cursor.execute("SELECT id FROM pack_invoice")
        ids = [pk for (pk,) in cursor.fetchall()]
        transaction.set_rollback(True)
    for invoice in Invoice.objects.filter(pk__in=ids, document=None).select_related("customer"):
        keep_invoice_document(invoice=invoice, at=at)
    for note in CreditNote.objects.filter(invoice__in=ids, document=None).select_related():
        keep_note_document(credit_note=note, at=at)


def _choose(cursor: Any, pack: AuditPack) -> None:
    for statement in pack_sql.CHOICE:
        cursor.execute(statement, _params(pack))


def _params(pack: AuditPack) -> dict[str, Any]:
    return {
        "start": pack.start_at, "end": pack.end_at, "customer": pack.customer_id,
        "invoices": list(pack.invoices), "is_of_all": pack.customer_id is None,
    }  # fmt: skip


@dataclass
class _Archive:
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


def _write(pack: AuditPack, path: Path, at: datetime) -> _Archive:
    """Write the whole pack from one state of the database."""
    is_outermost = not connection.in_atomic_block
    with (
        transaction.atomic(), connection.cursor() as cursor, ZipFile(path, "w") as zipped,
        closing(connection.copy()) as other,
    ):  # fmt: skip
        if is_outermost:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        _choose(cursor, pack)
        archive = _Archive(zipped, at)
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
    return _read(pack_sql.READINGS.format(readings=" UNION ALL ".join(texts)), params)


def _read(query: str, params: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Read rows as they are written out, never all at once."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(query, params)
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            yield from rows


def _sealed() -> Iterator[bytes]:
    names = ("entry", "position", "sha256", "previous_sha256")
    for *head, sealed, postings in _read(pack_money_sql.SEALED, {}):
        said = {
            **dict(zip(names, head, strict=True)),
            "sealed": json.loads(sealed), "postings": json.loads(postings),
        }  # fmt: skip
        yield json.dumps(said, ensure_ascii=False).encode() + b"\n"


def _add_documents(archive: _Archive) -> None:
    """Add the documents that customers have."""
    for number, content, sha256 in _read(pack_money_sql.DOCUMENTS, {}):
        about = f"invoice {number} as its customer has it; kept under {sha256}"
        archive.add(f"documents/{number}.pdf", [bytes(content)], about)
    ids = [pk for (pk,) in _read(pack_money_sql.NOTES_OF_PACK, {})]
    for row in CreditNoteDocument.objects.filter(credit_note__in=ids).select_related():
        number = row.credit_note.number
        about = f"credit note {number} as its customer has it; kept under {row.sha256}"
        archive.add(f"documents/{number}.pdf", [bytes(row.content)], about)


def _add_words(archive: _Archive, pack: AuditPack) -> None:
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
    archive.add("verify.py", [_VERIFIER.read_bytes()], "adds everything up again")


def _seller_of(pack: AuditPack) -> int:
    """Return the legal entity whose books a pack is out of: its customer's, or the main one."""
    return entity_id_of(pack.customer) if pack.customer else MAIN_ENTITY


def _manifest(archive: _Archive, pack: AuditPack, at: datetime) -> str:
    position, sha256 = chain_head()
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
        "journal_head": {"position": position, "sha256": sha256},
        "files": archive.listed,
    }  # fmt: skip
    return json.dumps(said, ensure_ascii=False, indent=1)


def _instant(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None
