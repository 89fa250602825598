"""The meter events behind an invoice line, a page at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Exists, OuterRef, QuerySet, prefetch_related_objects

from invoicing.models import InvoiceLine, LineUsage
from metering.models import MeterEvent, UsageWindow
from metering.selectors.events import events_of_window


class Place(NamedTuple):
    """Where a page begins: in a usage window, after so many of its events."""

    window_id: int
    skipped: int


@dataclass(frozen=True)
class EventBehind:
    """One event, and the usage window through which it came onto the line."""

    window: UsageWindow
    event: MeterEvent


START = Place(0, 0)


def events_behind(
    line: InvoiceLine, place: Place, limit: int
) -> tuple[list[EventBehind], Place | None]:
    """Return a page of the events that a line's usage is made of, by window and time.

    Returns:
        The events and where the next page begins; None on the last page.
    """
    found: list[EventBehind] = []
    for here, behind in _walk(line, place, limit + 1):
        if len(found) == limit:
            return _with_workspaces(found), here
        found.append(behind)
    return _with_workspaces(found), None


def windows_behind(line: InvoiceLine) -> QuerySet[UsageWindow]:
    """List the usage windows whose rated usage stands behind a line."""
    usage = LineUsage.objects.filter(line=line, rated_usage__window=OuterRef("pk"))
    return UsageWindow.objects.filter(Exists(usage)).select_related("meter").order_by("id")


def _walk(line: InvoiceLine, place: Place, limit: int) -> Iterator[tuple[Place, EventBehind]]:
    for window in windows_behind(line).filter(pk__gte=place.window_id).iterator(chunk_size=100):
        skipped = place.skipped if window.pk == place.window_id else 0
        events = events_of_window(window, limit=skipped + limit)
        for index, event in enumerate(events[skipped:], start=skipped):
            yield Place(window.pk, index), EventBehind(window, event)


def _with_workspaces(found: list[EventBehind]) -> list[EventBehind]:
    prefetch_related_objects([behind.event for behind in found], "workspace")
    return found
