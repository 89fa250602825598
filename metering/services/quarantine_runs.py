"""Replay or dismiss a whole group, however large: in chunks, each with its progress.

A run is asked for once and worked on by the worker, or by whoever asks again; a chunk and its
progress are one transaction under the run's row lock, so that nothing is worked on twice and a kill
loses no more than the chunk it hit.
"""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Count, Max, QuerySet

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid, NotFound
from billing_project.kernel.models import User
from metering.models import QuarantineRun, RunKind
from metering.selectors.quarantine import Chosen
from metering.services.quarantine import AT_ONCE, dismiss_quarantined, replay_rows
from metering.services.retrying import atomic_with_retries


@transaction.atomic
def start_run(
    *, kind: str, reason: str, missing: str, by: User, at: datetime, words: str = ""
) -> QuarantineRun:
    """Ask for work on all rows of a group that are open now; asked again, it is the same run.

    Args:
        words: Why the rows are dismissed.

    Raises:
        Invalid: a dismissal without its reason.
        NotFound: nothing of this group is open.
        Conflict: other work on the group is not finished.
    """
    if kind == RunKind.DISMISS and not words.strip():
        raise Invalid("a dismissal needs its reason")
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
    """Do one chunk of the oldest run that nobody is at; return how many rows were tried."""
    return _advance(QuarantineRun.objects.order_by("id"), at)


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
    run.save(update_fields=["tried_count", "closed_count", "done_id", "finished_at"])
    return len(ids)


def _next_ids(run: QuarantineRun) -> list[int]:
    rows = Chosen(reason=run.reason, missing=run.missing).open_rows()
    beyond = rows.filter(pk__gt=run.done_id, pk__lte=run.last_id).order_by("id")
    return list(beyond.values_list("id", flat=True)[:AT_ONCE])


def _work(run: QuarantineRun, ids: list[int], at: datetime) -> int:
    if run.kind == RunKind.DISMISS:
        return dismiss_quarantined(ids=ids, reason=run.words, by=run.requested_by, at=at)
    return replay_rows(ids, run.requested_by, at).closed


def _same(running: QuarantineRun, kind: str, words: str) -> QuarantineRun:
    if (running.kind, running.words) != (kind, words):
        raise Conflict(f"{running.kind} of this group is not finished")
    return running
