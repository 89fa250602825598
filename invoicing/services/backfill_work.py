"""What the worker does on backfills: read files, preview, submit, apply, revert; each run apart.

Work that changes usage is one transaction with the end of its run: killed at any point, nothing of
it stands, and the next worker begins anew. A trial, for a preview or a submission, has its own
transactions: what waits to be aggregated before it must not stay locked for as long as the trial. A
refusal ends a run with its words; any other fault lets it wait, and is shown meanwhile.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django_q.tasks import async_task

from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import BillingError
from invoicing.services.backfills import preview_backfill, propose_previewed
from metering.models import BackfillRun, BackfillRunState, BackfillWork
from metering.services.backfill_files import forget_upload, read_upload
from metering.services.backfill_runs import (
    end_run,
    fail_run,
    held_run,
    keep_effect,
    open_run_ids,
    postpone_run,
    telling,
)
from metering.services.backfilling import Tell, apply_backfill, revert_backfill
from metering.services.retrying import atomic_with_retries

# A million events take minutes in one transaction; the worker must not be stopped in the middle.
_TIMEOUT_SECONDS = 3600
_TASK = "invoicing.tasks.work_backfills"
log = logging.getLogger(__name__)
Now = Callable[[], datetime]
_FIRST = {
    "preview": "rating the range as it stands",
    "submit": "rating the range as it stands",
    "apply": "waiting for the range",
    "revert": "waiting for the range",
}
_MAY_PASS = 500  # A status from here on says nothing about the work itself.


def ring_worker() -> None:
    """Ask the worker to look at once; if the ring is lost, the schedule rings again."""
    async_task(_TASK, q_options={"timeout": _TIMEOUT_SECONDS})


def work_on_backfills(*, now: Now, is_over: Callable[[], bool]) -> int:
    """Take up each run that is due; return how many were worked on."""

    def work(run_id: int) -> int:
        return 0 if is_over() else _work(run_id, now, is_over)

    return each_apart(open_run_ids(now()), work, step="backfill")


def _work(run_id: int, now: Now, is_over: Callable[[], bool]) -> int:
    with held_run(run_id, at=now()) as run:
        if run is None:
            return 0
        try:
            _do(run, now, is_over)
        except BillingError as error:
            stop = postpone_run if error.status_code >= _MAY_PASS else fail_run
            stop(run, error.message, at=now())
        except Exception as error:  # The edge of a task: the fault stands on the run.
            log.exception("backfill_work_failed", extra={"run": run.pk})
            postpone_run(run, f"{type(error).__name__}: {error}"[:1000], at=now())
    run.refresh_from_db()
    if not run.is_open:
        forget_upload(run)
    return 1


def _do(run: BackfillRun, now: Now, is_over: Callable[[], bool]) -> None:
    if run.kind == BackfillWork.UPLOAD:
        read_upload(run, now=now, is_over=is_over)
        return
    with telling(run, now) as tell:
        tell(_FIRST[run.kind], 0, 0)
        if run.kind in (BackfillWork.PREVIEW, BackfillWork.SUBMIT):
            _try(run, tell, now())
        else:
            _change(run, tell, now())


def _try(run: BackfillRun, tell: Tell, at: datetime) -> None:
    """Preview, then keep or propose what was seen and end the run, both or neither."""
    by = run.requested_by
    priced = preview_backfill(backfill=run.backfill, by=by, at=at, tell=tell)
    with transaction.atomic():
        if run.kind == BackfillWork.PREVIEW:
            keep_effect(run, priced.effect())
        else:
            propose_previewed(preview=priced, by=by, at=at)
        _end(run, at)


@atomic_with_retries
def _change(run: BackfillRun, tell: Tell, at: datetime) -> None:
    """Do the work and end its run, both or neither."""
    backfill, by = run.backfill, run.requested_by
    if run.kind == BackfillWork.APPLY:
        apply_backfill(backfill=backfill, by=by, at=at, tell=tell)
    else:
        revert_backfill(backfill=backfill, reason=run.reason, by=by, at=at, tell=tell)
    _end(run, at)


def _end(run: BackfillRun, at: datetime) -> None:
    end_run(run, at=at)
    assert run.state == BackfillRunState.FINISHED, "its worker holds the run"
