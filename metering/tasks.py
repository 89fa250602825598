"""What the worker runs for metering; each is safe to run twice, also at once."""

from datetime import UTC, date, datetime, time

from billing_project.kernel import clock
from billing_project.kernel.period import add_months
from metering.services.aggregate import aggregate_batches
from metering.services.storing import ensure_partitions

_MONTHS_AHEAD = 2


def aggregate() -> int:
    """Bring waiting batches into usage windows; return how many were taken."""
    return aggregate_batches(at=clock.now())


def make_partitions() -> int:
    """Make the partitions of this month and the next two; return how many were missing."""
    first = clock.now().astimezone(UTC).date().replace(day=1)
    months = [add_months(first, count, 1) for count in range(_MONTHS_AHEAD + 1)]
    return ensure_partitions(_midnight(month) for month in months)


def _midnight(month: date) -> datetime:
    return datetime.combine(month, time.min, UTC)
