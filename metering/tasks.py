"""What the worker runs for metering; each is safe to run twice, also at once."""

import time as clocks
from datetime import UTC, date, datetime, time

from django_q.tasks import async_task

from billing_project.kernel import clock
from billing_project.kernel.period import add_months
from metering.services import watching
from metering.services.aggregate import aggregate_batches, carry_idle_hours
from metering.services.quarantine_runs import advance_runs
from metering.services.storing import ensure_partitions
from metering.services.uploads import open_uploads, run_uploads

_MONTHS_AHEAD = 2
_CHUNKS_AT_ONCE = 10
_IMPORT_SECONDS = 45  # Of a run; below the schedule's minute and far below a task's timeout.


def aggregate() -> int:
    """Bring waiting batches and idle hours into usage windows; return how many were taken."""
    at = clock.now()
    return aggregate_batches(at=at) + carry_idle_hours(at=at)


def work_quarantine() -> int:
    """Do some chunks of the work that was asked for on quarantined groups; return the rows."""
    done = 0
    for _ in range(_CHUNKS_AT_ONCE):
        tried = advance_runs(at=clock.now())
        if not tried:
            break
        done += tried
    return done


def watch_lag() -> int:
    """Open or close an episode of lag; return whether one is open."""
    return int(watching.watch_lag(at=clock.now()) is not None)


def make_partitions() -> int:
    """Make the partitions of this month and the next two; return how many were missing."""
    first = clock.now().astimezone(UTC).date().replace(day=1)
    months = [add_months(first, count, 1) for count in range(_MONTHS_AHEAD + 1)]
    return ensure_partitions(_midnight(month) for month in months)


def run_imports() -> int:
    """Read uploaded files for a while; return how many lines. Two at once share no line."""
    end = clocks.monotonic() + _IMPORT_SECONDS
    read = run_uploads(now=clock.now, is_over=lambda: clocks.monotonic() > end)
    if read and open_uploads():
        async_task("metering.tasks.run_imports")
    return read


def _midnight(month: date) -> datetime:
    return datetime.combine(month, time.min, UTC)
