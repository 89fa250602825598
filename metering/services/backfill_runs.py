"""Ask for work on a backfill, take it up, end it: one run at a time for each backfill.

A run is held by an advisory lock of the worker's connection, which ends with the connection: what a
killed worker held is free at once. The lock only spares double work. That nothing is done twice is
due to the rows: an upload's place moves with its lines, and other work ends in the transaction that
did it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic_ns

from django.db import connection, transaction
from django.db.models import Q

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.quantity import how_many
from billing_project.kernel.sessions import held
from metering.models import (
    Backfill,
    BackfillError,
    BackfillRun,
    BackfillRunState,
    BackfillState,
    BackfillWork,
)
from metering.services.backfilling import Tell, approved_proposal
from metering.services.backfills import lock_backfill
from metering.services.uploads import Upload, store_upload

MAX_ATTEMPTS = 5
_FIRST_PAUSE = timedelta(seconds=5)
_TELL_NANOSECONDS = 500_000_000
_DONE = {"apply": BackfillState.APPLIED, "revert": BackfillState.REVERTED}
_OPEN = Q(state__in=[BackfillRunState.WAITING, BackfillRunState.RUNNING])


def start_upload(*, backfill: Backfill, upload: Upload, by: User, at: datetime) -> BackfillRun:
    """Keep an uploaded file and ask for its lines to be taken in.

    Raises:
        Invalid: neither CSV nor JSONL by its name.
        Conflict: the backfill takes no lines any more, or other work on it is not finished.
    """
    _refuse(backfill, BackfillWork.UPLOAD)
    file = store_upload(upload, prefix=f"backfill-{backfill.pk}-")
    wanted = BackfillRun(
        kind=BackfillWork.UPLOAD, name=file.name[:255], stored_name=file.stored_name,
        format=file.format, size_bytes=file.size_bytes,
    )  # fmt: skip
    run = _start(backfill, wanted, by, at)
    assert run is not None, "an upload is never done already"
    return run


def start_work(
    *, backfill: Backfill, kind: BackfillWork, by: User, at: datetime, reason: str = ""
) -> BackfillRun | None:
    """Ask for a preview, a submission, the application or its revert; asked again, the same run.

    Returns:
        None where it is applied, or reverted, already.

    Raises:
        Invalid: a revert without its reason.
        Conflict: its state does not admit that, or other work on it is not finished.
    """
    if kind == BackfillWork.REVERT and not reason.strip():
        raise Invalid("to revert a backfill needs its reason")
    return _start(backfill, BackfillRun(kind=kind, reason=reason), by, at)


@transaction.atomic
def _start(backfill: Backfill, wanted: BackfillRun, by: User, at: datetime) -> BackfillRun | None:
    locked = lock_backfill(backfill)
    running = open_run(locked)
    if running is not None:
        same = (running.kind, running.reason, running.stored_name)
        if same != (wanted.kind, wanted.reason, wanted.stored_name):
            raise Conflict(f"the {running} is not finished", code="backfill_is_worked_on")
        return running
    if _DONE.get(str(wanted.kind)) == locked.state:
        return None
    _refuse(locked, BackfillWork(wanted.kind))
    wanted.backfill, wanted.requested_by = locked, by
    wanted.requested_at = wanted.updated_at = at
    wanted.save(force_insert=True)
    audit.record(
        by=by, at=at, action="ask_for_backfill_work", subject=wanted, reason=wanted.reason,
        kind=str(wanted.kind), name=wanted.name,
    )  # fmt: skip
    return wanted


def _refuse(backfill: Backfill, kind: BackfillWork) -> None:
    """Raise what the work itself would raise at once, so that nobody waits for a refusal."""
    state = backfill.state
    if kind == BackfillWork.UPLOAD and state != BackfillState.OPEN:
        raise Conflict(f"{backfill} is {state}: it takes no lines any more")
    is_to_come = state in (BackfillState.OPEN, BackfillState.SUBMITTED)
    if kind == BackfillWork.PREVIEW and not is_to_come:
        raise Conflict(f"{backfill} is {state}: nothing of it is to come")
    if kind == BackfillWork.SUBMIT:
        if not is_to_come:
            raise Conflict(f"{backfill} is {state}: it is not submitted any more")
        if faults := BackfillError.objects.filter(backfill=backfill).count():
            raise Conflict(f"{how_many(faults, 'line')} with faults: discard it and upload anew")
    if kind == BackfillWork.APPLY:
        approved_proposal(backfill)
    if kind == BackfillWork.REVERT and state != BackfillState.APPLIED:
        raise Conflict(f"{backfill} is {state}: only an applied one is reverted")


def open_run(backfill: Backfill) -> BackfillRun | None:
    """Return the work on a backfill that is not over, if there is some."""
    return BackfillRun.objects.filter(_OPEN, backfill=backfill).first()


def refuse_worked_on(backfill: Backfill) -> None:
    """Keep people from changing what the worker is at.

    Raises:
        Conflict: work on the backfill is not finished.
    """
    if (running := open_run(backfill)) is not None:
        raise Conflict(f"the {running} is not finished", code="backfill_is_worked_on")


def open_run_ids(at: datetime) -> list[int]:
    """List the runs whose time has come: those that failed least first, then the oldest."""
    due = BackfillRun.objects.filter(_OPEN).filter(Q(not_before=None) | Q(not_before__lte=at))
    return list(due.order_by("attempt_count", "id").values_list("id", flat=True))


@contextmanager
def held_run(run_id: int, *, at: datetime) -> Iterator[BackfillRun | None]:
    """Hold a run and count the attempt; None where somebody else holds it, or nothing is left.

    One that was stopped too often without getting anything done is given up.
    """
    with held(f"backfill_run:{run_id}") as is_ours:
        yield _begin(run_id, at) if is_ours else None


@transaction.atomic
def _begin(run_id: int, at: datetime) -> BackfillRun | None:
    rows = BackfillRun.objects.select_for_update(no_key=True, of=("self",))
    run = rows.select_related("backfill", "requested_by").get(pk=run_id)
    if not run.is_open:
        return None
    if run.attempt_count >= MAX_ATTEMPTS:
        fail_run(
            run, f"stopped {how_many(run.attempt_count, 'time')} before anything was done", at=at
        )
        return None
    run.attempt_count += 1
    run.state, run.updated_at, run.not_before = BackfillRunState.RUNNING, at, None
    run.save(update_fields=["attempt_count", "state", "updated_at", "not_before"])
    return run


def end_run(run: BackfillRun, *, at: datetime) -> None:
    """Note that a run's work is done, in the transaction that did it."""
    _close(run, BackfillRunState.FINISHED, "", at)


def keep_effect(run: BackfillRun, effect: dict[str, object]) -> None:
    """Keep what a preview found, in the transaction that ends its run."""
    BackfillRun.objects.filter(_OPEN, pk=run.pk).update(effect=effect)


def fail_run(run: BackfillRun, fault: str, *, at: datetime) -> None:
    """Give a run up; what is asked for again is a new run."""
    _close(run, BackfillRunState.FAILED, fault, at)


def postpone_run(run: BackfillRun, fault: str, *, at: datetime) -> None:
    """Let a run wait after a fault that may pass, each time twice as long; then give it up."""
    if run.attempt_count >= MAX_ATTEMPTS:
        fail_run(run, fault, at=at)
        return
    pause = _FIRST_PAUSE * 2 ** (run.attempt_count - 1)
    BackfillRun.objects.filter(_OPEN, pk=run.pk).update(
        state=BackfillRunState.WAITING, fault=fault, not_before=at + pause, updated_at=at, step=""
    )


def _close(run: BackfillRun, state: BackfillRunState, fault: str, at: datetime) -> None:
    BackfillRun.objects.filter(_OPEN, pk=run.pk).update(
        state=state, fault=fault, updated_at=at, finished_at=at, not_before=None, step=""
    )
    run.refresh_from_db()


@contextmanager
def telling(run: BackfillRun, now: Callable[[], datetime]) -> Iterator[Tell]:
    """Let work say how far it is: over a connection of its own, before its transaction ends."""
    aside = connection.copy()
    told: dict[str, int] = {}  # When each step was told last: not for every chunk.

    def tell(step: str, done: int, total: int) -> None:
        if monotonic_ns() - told.get(step, -_TELL_NANOSECONDS) < _TELL_NANOSECONDS:
            return
        told[step] = monotonic_ns()
        with aside.cursor() as cursor:
            cursor.execute(
                "UPDATE backfill_run SET step = %s, done_count = %s, total_count = %s,"
                " updated_at = %s WHERE id = %s",
                [step, done, total, now(), run.pk],
            )

    try:
        yield tell
    finally:
        aside.close()
