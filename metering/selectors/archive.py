"""Which months are archived, and what cannot be done to them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db import connection

from billing_project.kernel.errors import Conflict
from billing_project.kernel.period import Period, midnight, month_of
from metering.models import ArchivedMonth

# Asked with (month, now); says why raw events of the month are still needed, or "".
Need = Callable[[Period, datetime], str]
_Need = TypeVar("_Need", bound=Need)
_needs: list[Need] = []

_PARTITIONS = """
SELECT to_date(right(inhrelid::regclass::text, 7), 'YYYY_MM') FROM pg_inherits
WHERE inhparent = 'meter_event'::regclass ORDER BY 1
"""


class MonthArchived(Conflict):
    """Events of a month that is archived are asked for or would change; restore it first."""

    code = "month_archived"


def needs_events(need: _Need) -> _Need:
    """Register a reason of a higher app to keep a month's raw events in the database."""
    _needs.append(need)
    return need


def reasons_to_keep(month: Period, at: datetime) -> list[str]:
    """Ask every app whether it still needs the month's raw events."""
    return [reason for need in _needs if (reason := need(month, at))]


def month_named(first: date) -> Period:
    """Return the UTC month of a date."""
    begin, end = month_of(first)
    return Period(midnight(begin), midnight(end))


def stored_months() -> list[Period]:
    """List the months that have a partition, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTITIONS)
        return [month_named(first) for (first,) in cursor.fetchall()]


def archived_at(moment: datetime) -> ArchivedMonth | None:
    """Return the archive that holds events of an instant, or None."""
    return ArchivedMonth.objects.filter(
        restored_at__isnull=True, start_at__lte=moment, end_at__gt=moment
    ).first()


def archived_starts() -> set[datetime]:
    """Return when the archived months begin."""
    months = ArchivedMonth.objects.filter(restored_at__isnull=True)
    return set(months.values_list("start_at", flat=True))


def archived_since(oldest: datetime, at: datetime | None = None) -> list[Period]:
    """Return the archived months from an instant of use on.

    Args:
        at: Now: nothing is asked about the month of it and the one before, which are never
            archived (see `archiving`). None: ask about any.
    """
    if at is not None and oldest >= first_open(at):
        return []
    months = ArchivedMonth.objects.filter(restored_at__isnull=True, end_at__gt=oldest)
    return [Period(month.start_at, month.end_at) for month in months]


def first_open(at: datetime) -> datetime:
    """Return the start of the month before an instant's: no later month is ever archived."""
    this = at.astimezone(UTC).date().replace(day=1)
    return midnight((this - timedelta(days=1)).replace(day=1))


def refuse_archived(start: datetime, end: datetime) -> None:
    """Refuse what reads or changes raw events of [start, end) if any of it is archived.

    Raises:
        MonthArchived: names the months to restore.
    """
    months = ArchivedMonth.objects.filter(
        restored_at__isnull=True, start_at__lt=end, end_at__gt=start
    ).order_by("start_at")
    if names := ", ".join(str(month) for month in months):
        raise MonthArchived(f"events of {names} are archived; run manage.py restore_events first")


def archive_path(archived: ArchivedMonth) -> Path:
    """Return where an archive's file lies."""
    return Path(settings.ARCHIVE_DIR) / archived.file_name
