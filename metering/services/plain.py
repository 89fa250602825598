"""Store plain events by one statement in a transaction of its own: the short way of `capture`.

Plain is what `capture_events` would store without a question: a good event of a known customer,
within the window of time, with meters that take all of its name. Whatever is in the least unusual
is left out here, untouched, and `capture_events` gives it its verdict.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from metering.events import BadItem, EventInput, content_sha256
from metering.exact import write_json
from metering.judging import TimeWindow, is_plain
from metering.models.event import MENDABLE
from metering.selectors.archive import first_open
from metering.selectors.screens import remembered_screens
from metering.services.retrying import AGAIN
from metering.services.storing import is_month_known

_STORE = "SELECT * FROM meter_event_store_plain(%s, %s, %s, %s, %s)"
_MENDABLE = [str(one) for one in MENDABLE]


def store_plain_events(
    *, items: Sequence[EventInput | BadItem], key_ids: Sequence[int], at: datetime
) -> set[int]:
    """Store those items that are plain and new; return their places, once they are committed.

    Args:
        items: In the order of arrival.
        key_ids: The API key of each; nothing is stored for one that was revoked.
        at: Instant of receipt; the time of use where the sender gave none.

    Raises:
        OperationalError, InterfaceError: the database does not answer; whether anything was
            stored is not known.
    """
    known = remembered_screens()
    if known is None:
        return set()
    (version_count, version_sum), screens = known
    window = TimeWindow.around(at, settings.EVENT_DAYS_BACK, settings.EVENT_MINUTES_AHEAD)
    oldest = first_open(at)
    plain = [
        (n, item)
        for n, item in enumerate(items)
        if isinstance(item, EventInput)
        and is_plain(item, moment := item.timestamp or at, screens, window)
        and moment >= oldest
        and is_month_known(moment)
    ]
    if not plain:
        return set()
    rows = write_json(list(_rows(plain, key_ids, at)))
    try:
        with connection.cursor() as cursor:
            cursor.execute(_STORE, [rows, at, version_count, version_sum, _MENDABLE])
            return {n for (n,) in cursor.fetchall()}
    except (OperationalError, InterfaceError) as error:
        if getattr(error.__cause__, "sqlstate", None) in AGAIN:
            return set()
        raise
    except DatabaseError:  # One of them cannot be stored; nothing was, and capture says which.
        if connection.in_atomic_block:
            raise
        return set()


def _rows(
    plain: Sequence[tuple[int, EventInput]], key_ids: Sequence[int], at: datetime
) -> Iterator[dict[str, object]]:
    for n, event in plain:
        yield {
            "n": n,
            "api_key_id": key_ids[n],
            "customer": event.customer,
            "workspace": event.workspace,
            "event_name": event.event_name,
            "identifier": event.identifier,
            "moment": event.timestamp or at,
            "sha256": content_sha256(event).hex(),
            "properties": event.properties,
        }
