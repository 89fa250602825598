"""Store plain events with few questions, in a transaction of its own: the short way of `capture`.

Plain is what `capture_events` would store without a question: a good event of a known customer,
within the window of time, with meters that take all of its name. Whatever is in the least unusual
is left out here, untouched, and `capture_events` gives it its verdict.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from billing_project.kernel.sessions import is_to_repeat
from metering.content import content_hashes, content_sha256
from metering.events import BadItem, EventInput
from metering.exact import to_json, write_json
from metering.judging import TimeWindow, are_plain, is_plain
from metering.models.event import MENDABLE
from metering.selectors.archive import first_open
from metering.selectors.screens import remembered_screens
from metering.services.capture import ASK_FEW
from metering.services.keeping import dismissed_verdicts
from metering.services.retrying import CAUTION, ClaimedMeanwhile
from metering.services.storing import NewEvent, copy_events, ensure_workspaces, is_month_known

# What was dismissed is left to capture, which says so; where nothing was, nothing is looked up.
_STORE = """
SELECT stored.n FROM (SELECT %s::jsonb AS rows) AS sent CROSS JOIN LATERAL meter_event_store_plain(
    CASE WHEN (SELECT true FROM quarantined_event WHERE state = 'dismissed' ORDER BY reason LIMIT 1)
    IS NOT NULL THEN (
        SELECT coalesce(jsonb_agg(r.one), '[]') FROM jsonb_array_elements(sent.rows) AS r(one)
        WHERE NOT EXISTS (
            SELECT FROM quarantined_event q
            WHERE q.customer_external_id = r.one ->> 'customer'
              AND q.identifier = r.one ->> 'identifier'
              AND q.content_sha256 = decode(r.one ->> 'sha256', 'hex') AND q.state = 'dismissed'))
    ELSE sent.rows END, %s, %s, %s, %s) AS stored(n)
"""
_OPEN = """
SELECT batch_id, event_ids, customer_ids,
       (SELECT true FROM quarantined_event WHERE state = 'dismissed' ORDER BY reason LIMIT 1)
           IS NOT NULL
FROM meter_event_open_plain_batch(
    %(key)s, %(names)s, %(count)s, %(first)s, %(last)s, %(at)s, %(versions)s, %(version_sum)s,
    %(mendable)s)
"""
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
        if is_to_repeat(error):
            return set()
        raise
    except DatabaseError:  # One of them cannot be stored; nothing was, and capture says which.
        if connection.in_atomic_block:
            raise
        return set()


def store_plain_batch(*, items: Sequence[EventInput | BadItem], key_id: int, at: datetime) -> bool:
    """Store a batch if all of it is plain and new; return whether it is, once it is committed.

    Args:
        items: In the sender's order.
        key_id: Of the API key; nothing is stored for one that was revoked.
        at: Instant of receipt; the time of use where the sender gave none.

    Raises:
        OperationalError, InterfaceError: the database does not answer; whether anything was
            stored is not known.
    """
    known = remembered_screens()
    if known is None or CAUTION.is_due or len(items) < ASK_FEW:
        return False
    stamp, screens = known
    window = TimeWindow.around(at, settings.EVENT_DAYS_BACK, settings.EVENT_MINUTES_AHEAD)
    events = [item for item in items if isinstance(item, EventInput)]
    moments = [event.timestamp or at for event in events]
    keys = {(event.customer, event.identifier) for event in events}
    if (
        len(keys) < len(items)
        or not are_plain(events, moments, screens, window)
        or (first := min(moments)) < first_open(at)
        or not is_month_known(first)
        or not is_month_known(last := max(moments))
    ):
        return False
    names = list({event.customer for event in events})
    asked = {
        "key": key_id, "names": names, "count": len(events), "first": first, "last": last,
        "at": at, "versions": stamp[0], "version_sum": stamp[1], "mendable": _MENDABLE,
    }  # fmt: skip
    try:
        with transaction.atomic():
            return _store_batch(events, moments, asked)
    except ClaimedMeanwhile:
        return False
    except (OperationalError, InterfaceError) as error:
        if is_to_repeat(error):
            return False
        raise
    except DatabaseError:  # One of them cannot be stored; nothing was, and capture says which.
        return False


def _store_batch(
    events: Sequence[EventInput], moments: Sequence[datetime], asked: Mapping[str, Any]
) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, asked)
        batch_id, ids, customers, was_dismissed = cursor.fetchone()
    if batch_id is None:
        return False
    properties = [to_json(event.properties) for event in events]
    hashes = content_hashes(events, properties)
    if was_dismissed and _is_any_dismissed(events, hashes):
        transaction.set_rollback(True)
        return False
    at = asked["at"]
    known = dict(zip(asked["names"], customers, strict=True))
    places = [(known[event.customer], event.workspace) for event in events]
    workspaces = ensure_workspaces([place for place in places if place[1]], at)
    columns = (
        [customer_id for customer_id, _ in places],
        [event.identifier for event in events],
        [workspaces.get(place) for place in places],
        [event.event_name for event in events],
        moments,
        hashes,
        properties,
    )
    copy_events(list(map(NewEvent._make, zip(*columns, strict=True))), batch_id, ids, at)
    return True


def _is_any_dismissed(events: Sequence[EventInput], hashes: Sequence[bytes]) -> bool:
    named = ((event.customer, event.identifier) for event in events)
    reports = [
        (n, *names, sha256) for n, (names, sha256) in enumerate(zip(named, hashes, strict=True))
    ]
    return bool(dismissed_verdicts(reports))


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
