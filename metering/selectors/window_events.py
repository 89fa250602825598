"""The raw events behind one usage window, a page at a time, each with what it adds.

A page reads a bounded stretch of the customer's events along their index, whatever of it the meter
counts: an hour may hold a million events of others. So a page may be short, even empty, and there
is more as long as it says where the next one begins. What counts is what the meter reads now:
amended events as amended, cancelled and replaced ones not at all. For sums and counts the
quantities of all pages add up to the window's. A level that goes on from an earlier hour has its
event there.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection

from billing_project.kernel.errors import Invalid
from metering.aggregation import Properties
from metering.archive_file import Wanted
from metering.archive_sql import USED_ARCHIVED_EVENTS
from metering.exact import ExactDecoder
from metering.models import Aggregation, UsageWindow
from metering.reading_sql import Params, falls_into, value_of
from metering.selectors.archive import archived_at
from metering.selectors.archived_events import archived_rows, as_parameter
from metering.selectors.meters import rule_at

_STRETCH = 5_000  # Events read for a page at most, where the meter passes over most of them.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"([0-9]{1,16})-([0-9]{1,18})", re.ASCII)  # Microseconds before 2287; id.
_ADDED = (Aggregation.SUM, Aggregation.COUNT)
# The stretch is cut before the meter is asked; its last event is where the next page may begin.
_PAGE = """
WITH w AS MATERIALIZED (SELECT * FROM usage_window WHERE id = %(window)s), stretch AS MATERIALIZED (
    SELECT f.* FROM w CROSS JOIN LATERAL (
        SELECT e.* FROM {events} e
         WHERE e.customer_id = w.customer_id AND e."timestamp" >= w.start_at
           AND e."timestamp" < w.start_at + interval '1 hour'
           AND e."timestamp" >= %(after_at)s
           AND (e."timestamp", e.id) > (%(after_at)s, %(after_id)s)
         ORDER BY e."timestamp", e.id LIMIT %(stretch)s) f
), counted AS (
    SELECT e.*, {value} AS value FROM w JOIN stretch e ON {condition}
     ORDER BY e."timestamp", e.id LIMIT %(limit)s
), ended AS (
    SELECT count(*) AS read, max("timestamp") AS at,
           (array_agg(id ORDER BY "timestamp" DESC, id DESC))[1] AS id FROM stretch
)
SELECT ended.read, ended.at, ended.id, c.id, c."timestamp", c.identifier, c.event_name,
       c.workspace_id, c.received_at, c.properties::text, c.is_adjusted, c.value::text
  FROM ended LEFT JOIN counted c ON true ORDER BY c."timestamp", c.id
"""


class Key(NamedTuple):
    """The place of an event within its hour."""

    at: datetime
    id: int

    @property
    def cursor(self) -> str:
        """How it is written where a page ends."""
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}-{self.id}"

    @classmethod
    def of(cls, cursor: str) -> "Key | None":
        """Read where a page begins; None for the first.

        Raises:
            Invalid: no page ended so.
        """
        if not cursor:
            return None
        if (read := _CURSOR.fullmatch(cursor)) is None:
            raise Invalid("cursor is not one that this list gave")
        return cls(_EPOCH + timedelta(microseconds=int(read[1])), int(read[2]))


@dataclass(frozen=True)
class CountedEvent:
    """An event as it counts in a window; `quantity` where the meter adds its values up."""

    key: Key
    identifier: str
    event_name: str
    received_at: datetime
    properties: Properties
    is_adjusted: bool
    value: str
    quantity: Decimal | None


def page_of_window(
    window: UsageWindow, *, after: Key | None = None, limit: int
) -> tuple[list[CountedEvent], Key | None]:
    """Return a page of the events that count in a window, by time, then by id.

    Args:
        after: Where the page before ended.

    Returns:
        The events, and where the next page begins, if there may be more.
    """
    start = after or Key(window.start_at, 0)
    if archived_at(window.start_at):
        return _archived_page(window, start, limit)
    return _page(window, start, limit, "used_meter_event", {}, _STRETCH + limit)


def _page(
    window: UsageWindow, after: Key, limit: int, events: str, params: Params, stretch: int
) -> tuple[list[CountedEvent], Key | None]:
    rule = rule_at(window.meter, window.start_at)
    condition = falls_into(rule)
    asked: dict[str, Any] = {
        **condition.params, **params, "window": window.pk, "limit": limit + 1,
        "after_at": after.at, "after_id": after.id, "stretch": stretch,
    }  # fmt: skip
    text = _PAGE.format(events=events, condition=condition.text, value=value_of(rule))
    with connection.cursor() as cursor:
        cursor.execute(text, asked)
        rows = cursor.fetchall()
    found = list(_counted(window, rows))
    if len(found) > limit:
        return found[:limit], found[limit - 1].key
    read, at, last = rows[0][:3]
    return found, Key(at, last) if read == stretch else None


def _counted(window: UsageWindow, rows: list[tuple[Any, ...]]) -> Iterator[CountedEvent]:
    is_added = window.meter.aggregation in _ADDED
    for row in rows:
        pk, at, identifier, name, _, received_at, properties, is_adjusted, value = row[3:]
        if pk is None:  # The stretch held nothing of this window.
            continue
        quantity = Decimal(value) if is_added else None
        said = json.loads(properties, cls=ExactDecoder)
        yield CountedEvent(
            Key(at, pk), identifier, name, received_at, said, is_adjusted, value, quantity
        )


def _archived_page(
    window: UsageWindow, after: Key, limit: int
) -> tuple[list[CountedEvent], Key | None]:
    """Read the hour out of its file, some thousands of events at a time."""
    found: list[CountedEvent] = []
    for rows in archived_rows(Wanted(customers=[window.customer_id], hours=[window.start_at])):
        archived: Params = {"archived": as_parameter(rows)}
        some, _ = _page(window, after, limit + 1, USED_ARCHIVED_EVENTS, archived, len(rows) + 1)
        found = sorted([*found, *some], key=lambda event: event.key)[: limit + 1]
    return found[:limit], found[limit - 1].key if len(found) > limit else None
