"""Make audit packs: one file with everything behind a span or some invoices, and its own verifier.

All rows are read in one state of the database. The file appears under its name once it is whole;
a worker that dies leaves a pack that the next run makes anew.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django_q.tasks import async_task

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import BillingError, Conflict, Invalid, NotAllowed
from billing_project.kernel.models import User
from billing_project.kernel.sessions import held
from invoicing.selectors import find_invoice, is_issued
from metering.models import Customer, MeterEvent
from metering.selectors.archive import refuse_archived
from revrec.models import AuditPack, PackState
from revrec.schedule import day_of, start_of
from revrec.selectors.zone import books_zone
from revrec.services.pack_files import FILE_COUNT, keep_documents, write_pack

MOST_INVOICES = 1_000
MOST_EVENTS_AT_ONCE = 200_000  # Of a pack that somebody waits for.
MOST_ATTEMPTS = 3
_LONGEST_SECONDS = 3600  # Of making the packs that wait.


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
    zone = books_zone()
    for name, at in (("start", wish.start), ("end", wish.end)):
        if at != start_of(day_of(at, zone), zone):
            raise Invalid(f"a pack is of whole days, {zone}", field=name)
    refuse_archived(wish.start, wish.end)


def holds_more_than(count: int, wish: Wish) -> bool:
    """Say whether more than so many events lie in a span."""
    events = MeterEvent.objects.filter(timestamp__gte=wish.start, timestamp__lt=wish.end)
    if wish.customer is not None:
        events = events.filter(customer=wish.customer)
    return events[: count + 1].count() > count


def ring_worker() -> None:
    """Ask the worker for the packs that wait; if the ring is lost, the schedule rings again."""
    async_task("revrec.tasks.make_packs", timeout=_LONGEST_SECONDS)


def waiting_packs() -> QuerySet[AuditPack]:
    """List packs to make; what was begun before comes last, so that it holds nothing up."""
    packs = AuditPack.objects.filter(state__in=[PackState.WAITING, PackState.RUNNING])
    return packs.order_by("attempts", "id")


def make_waiting_packs(*, now: Callable[[], datetime]) -> int:
    """Make the packs that wait or were left half made; return how many are done now."""

    def make(pk: int) -> int:
        return make_pack(pack=AuditPack.objects.get(pk=pk), now=now)

    return each_apart(waiting_packs().values_list("pk", flat=True), make, step="audit pack")


def make_pack(*, pack: AuditPack, now: Callable[[], datetime]) -> int:
    """Make one pack, if nobody else does; return 1 once its file is there, 0 if it is not."""
    with held(f"audit_pack:{pack.pk}") as is_ours:
        pack.refresh_from_db()
        if not is_ours or not pack.is_open:
            return 0
        if pack.attempts >= MOST_ATTEMPTS:
            return _fail(pack, "it was begun three times and never finished: see the log", now())
        pack.attempts += 1
        pack.state, pack.files_done, pack.file_count = PackState.RUNNING, 0, FILE_COUNT
        pack.save(update_fields=["attempts", "state", "files_done", "file_count"])
        try:
            return _make(pack, now)
        except BillingError as error:
            return _fail(pack, error.message, now())
        except OSError as error:  # The disk is full; a document cannot be set.
            return _fail(pack, f"its file cannot be written: {error.strerror or error}", now())


def _fail(pack: AuditPack, why: str, at: datetime) -> int:
    pack.state, pack.fault, pack.finished_at = PackState.FAILED, why[:500], at
    pack.save(update_fields=["state", "fault", "finished_at"])
    return 0


def _make(pack: AuditPack, now: Callable[[], datetime]) -> int:
    """Write a pack beside its place, and put it there once it is whole."""
    path = path_of(pack)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}.part")
    try:
        keep_documents(pack, now())
        written = write_pack(pack, half, now())
        with half.open("rb+") as stream:
            pack.content_sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        pack.byte_count, pack.row_count = half.stat().st_size, written.row_count
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
    pack.state, pack.finished_at, pack.files_done = PackState.DONE, now(), pack.file_count
    pack.save()
    return 1


def path_of(pack: AuditPack) -> Path:
    """Return where a pack's file is, or will be."""
    return Path(settings.PACKS_DIR) / pack.file_name


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
    if hashlib.file_digest(stream, "sha256").hexdigest() != pack.content_sha256:
        stream.close()
        raise Conflict("the pack's file is not the one that was made", code="pack_changed")
    stream.seek(0)
    audit.record(by=by, at=at, action="download_audit_pack", subject=pack)
    return stream
