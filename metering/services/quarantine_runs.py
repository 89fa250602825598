"""Replay or dismiss a whole group, however large: in chunks, each with its progress.

A run is asked for once and worked on by the worker, or by whoever asks again; a chunk and its
progress are one transaction under the run's row lock, so that nothing is worked on twice and a kill
loses no more than the chunk it hit.
"""

import logging
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Q, QuerySet

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid, NotFound
from billing_project.kernel.models import User
from metering.models import QuarantineRun, RunKind
from metering.selectors.quarantine import Chosen
from metering.services.deciding import ensure_may_decide_reason
from metering.services.quarantine import AT_ONCE, dismiss_rows, replay_rows
from metering.services.retrying import atomic_with_retries

log = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=5), timedelta(hours=1)
_MOST_ATTEMPTS = 20  # Counted no further; the pause is the longest long before.


@transaction.atomic
def start_run(
    *, kind: str, reason: str, missing: str, by: User, at: datetime, words: str = ""
) -> QuarantineRun:
    """Ask for work on all rows of a group that are open now; asked again, it is the same run.

    Args:
        words: Why the rows are dismissed.

    Raises:
        Invalid: a dismissal without its reason.
        NotAllowed: what waits for this is not this person's to decide on.
        NotFound: nothing of this group is open.
        Conflict: other work on the group is not finished.
    """
    if kind == RunKind.DISMISS and not words.strip():
        raise Invalid("a dismissal needs its reason")
    ensure_may_decide_reason(by, reason)
    running = QuarantineRun.objects.filter(reason=reason, missing=missing, finished_at=None).first()
    if running is not None:
        return _same(running, kind, words)
    rows = Chosen(reason=reason, missing=missing).open_rows()
    found = rows.aggregate(count=Count("id"), last=Max("id"))
    if not found["count"]:
        raise NotFound("nothing of this group is open")
    try:
        with transaction.atomic():
            run = QuarantineRun.objects.create(
                kind=kind, reason=reason, missing=missing, words=words,
                event_count=found["count"], last_id=found["last"],
                requested_by=by, requested_at=at,
            )  # fmt: skip
    except IntegrityError as error:
        raise Conflict("somebody asked for work on this group just now") from error
    audit.record(
        by=by, at=at, action=f"{kind}_quarantine_group", subject=run, reason=words,
        group=missing, events=run.event_count,
    )  # fmt: skip
    return run


def advance_run(run: QuarantineRun, *, at: datetime) -> QuarantineRun:
    """Do one chunk of a run unless somebody else is at it; return it as it stands then."""
    _advance(QuarantineRun.objects.filter(pk=run.pk), at)
    run.refresh_from_db()
    return run


def advance_runs(*, at: datetime) -> int:
    """Do one chunk of a run that nobody is at, the oldest of those whose time has come.

    A run that fails waits, each time twice as long up to an hour, with its fault on it; the others
    go on meanwhile.

    Returns:
        How many rows were tried.
    """
    due = QuarantineRun.objects.filter(Q(not_before=None) | Q(not_before__lte=at))
    for run in due.filter(finished_at=None).order_by("attempt_count", "id"):
        try:
            if tried := _advance(QuarantineRun.objects.filter(pk=run.pk), at):
                return tried
        except Exception as error:  # The edge of a task: the fault stands on the run.
            log.exception("quarantine_run_failed", extra={"run": run.pk})
            _postpone(run.pk, f"{type(error).__name__}: {error}"[:1000], at)
    return 0


@transaction.atomic
def _postpone(run_id: int, fault: str, at: datetime) -> None:
    run = QuarantineRun.objects.select_for_update(no_key=True).get(pk=run_id)
    run.attempt_count = min(run.attempt_count + 1, _MOST_ATTEMPTS)
    run.not_before = at + min(_FIRST_PAUSE * 2 ** (run.attempt_count - 1), _LONGEST_PAUSE)
    run.fault = fault
    run.save(update_fields=["attempt_count", "not_before", "fault"])


@atomic_with_retries
def _advance(runs: QuerySet[QuarantineRun], at: datetime) -> int:
    waiting = runs.filter(finished_at=None).select_for_update(
        skip_locked=True, no_key=True, of=("self",)
    )
    run = waiting.select_related("requested_by").first()
    if run is None:
        return 0
    ids = _next_ids(run)
    closed = _work(run, ids, at)
    run.tried_count += len(ids)
    run.closed_count += closed
    run.done_id = ids[-1] if ids else run.last_id
    run.finished_at = at if len(ids) < AT_ONCE else None
    run.attempt_count, run.not_before, run.fault = 0, None, ""
    run.save(
        update_fields=[
            "tried_count", "closed_count", "done_id", "finished_at", "attempt_count", "not_before",
            "fault",
        ]
    )  # fmt: skip
    return len(ids)


def _next_ids(run: QuarantineRun) -> list[int]:
    rows = Chosen(reason=run.reason, missing=run.missing).open_rows()
    beyond = rows.filter(pk__gt=run.done_id, pk__lte=run.last_id).order_by("id")
    return list(beyond.values_list("id", flat=True)[:AT_ONCE])


def _work(run: QuarantineRun, ids: list[int], at: datetime) -> int:
    if run.kind == RunKind.DISMISS:
        return dismiss_rows(ids, run.words, run.requested_by, at)
    return replay_rows(ids, run.requested_by, at).closed


def _same(running: QuarantineRun, kind: str, words: str) -> QuarantineRun:
    if (running.kind, running.words) != (kind, words):
        raise Conflict(f"{running.kind} of this group is not finished")
    return running
