"""What the worker does on backfills: read files, preview, submit, apply, revert; each run apart.

Work that changes usage is one transaction with the end of its run: killed at any point, nothing of
it stands, and the next worker begins anew. A refusal ends a run with its words; any other fault
lets it wait, and is shown meanwhile.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from django_q.tasks import async_task

from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import BillingError
from invoicing.services.backfills import preview_backfill, submit_backfill
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
        _change(run, tell, now())


@atomic_with_retries
def _change(run: BackfillRun, tell: Tell, at: datetime) -> None:
    """Do the work and end its run, both or neither."""
    backfill, by = run.backfill, run.requested_by
    if run.kind == BackfillWork.PREVIEW:
        priced = preview_backfill(backfill=backfill, by=by, at=at, tell=tell)
        keep_effect(run, priced.effect())
    elif run.kind == BackfillWork.SUBMIT:
        submit_backfill(backfill=backfill, by=by, at=at, tell=tell)
    elif run.kind == BackfillWork.APPLY:
        apply_backfill(backfill=backfill, by=by, at=at, tell=tell)
    else:
        revert_backfill(backfill=backfill, reason=run.reason, by=by, at=at, tell=tell)
    end_run(run, at=at)
    assert run.state == BackfillRunState.FINISHED, "its worker holds the run"
