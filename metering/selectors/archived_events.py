"""Events out of the files of archived months, as they were sent; the tables hold none of them."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.db.models import F

from metering.archive_file import Wanted, find_rows, newest_rows
from metering.exact import ExactDecoder, write_json
from metering.models import ArchivedMonth, MeterEvent
from metering.selectors.archive import MonthArchived, archive_path

Rows = list[Mapping[str, Any]]


def archived_rows(wanted: Wanted) -> Iterator[Rows]:
    """Find rows in every file that may hold them, some thousands at a time.

    Raises:
        MonthArchived: such a file is not here.
    """
    for month in _months(wanted):
        yield from find_rows(_file(month), wanted)


def archived_rows_of(ids: Collection[int]) -> Iterator[Rows]:
    """Find the rows of those ids that are not in the table any more."""
    if not ids or not _months(Wanted(ids=ids)):
        return
    live = set(MeterEvent.objects.filter(pk__in=ids).values_list("pk", flat=True))
    if missing := set(ids) - live:
        yield from archived_rows(Wanted(ids=missing))


def archived_events(wanted: Wanted) -> list[MeterEvent]:
    """Find events, in no order."""
    return [_event(row) for rows in archived_rows(wanted) for row in rows]


def archived_events_of(ids: Collection[int]) -> list[MeterEvent]:
    """Find the events of those ids that are not in the table any more."""
    return [_event(row) for rows in archived_rows_of(ids) for row in rows]


def newest_archived_events(wanted: Wanted, most: int) -> list[MeterEvent]:
    """Find the events with the highest ids, in no order; at most so many of each month."""
    months = _months(wanted)
    return [_event(row) for one in months for row in newest_rows(_file(one), wanted, most)]


def as_parameter(rows: Rows) -> str:
    """Write rows as the parameter `archived` of `archive_sql`."""
    return write_json(rows)


def _months(wanted: Wanted) -> list[ArchivedMonth]:
    """List the archived months that may hold what is wanted, the oldest first."""
    months = (
        ArchivedMonth.objects.filter(restored_at__isnull=True)
        .defer("manifest")
        .annotate(first_id=F("manifest__events__first_id"), last_id=F("manifest__events__last_id"))
    )
    return [month for month in months.order_by("start_at") if _may_hold(month, wanted)]


def _may_hold(month: Any, wanted: Wanted) -> bool:
    """Judge a month by its bounds; one without an event has no ids."""
    if month.first_id is None:
        return False
    if wanted.ids is not None:
        return any(month.first_id <= pk <= month.last_id for pk in wanted.ids)
    if wanted.hours is not None:
        return any(month.start_at <= hour < month.end_at for hour in wanted.hours)
    return (
        (wanted.above is None or month.last_id > wanted.above)
        and (wanted.below is None or month.first_id < wanted.below)
        and (wanted.start is None or month.end_at > wanted.start)
        and (wanted.end is None or month.start_at < wanted.end)
    )


def _file(month: ArchivedMonth) -> Path:
    path = archive_path(month)
    if not path.exists():
        raise MonthArchived(f"the archive of {month} is not in ARCHIVE_DIR")
    return path


def _event(row: Mapping[str, Any]) -> MeterEvent:
    return MeterEvent(**{**row, "properties": json.loads(row["properties"], cls=ExactDecoder)})
