"""Events with what became of them in metering; later steps have their own selectors."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

from django.db import connection
from django.db.models import prefetch_related_objects

from billing_project.kernel.errors import NotFound
from billing_project.kernel.period import hour_of
from metering.adding_sql import select_additions
from metering.aggregation import Properties
from metering.archive_file import Wanted
from metering.archive_sql import USED_ARCHIVED_EVENTS
from metering.exact import write_json
from metering.models import (
    Aggregation,
    Customer,
    EventBatch,
    EventIdentity,
    MeterEvent,
    MeterEventAdjustment,
    QuarantinedEvent,
    UsageWindow,
)
from metering.models.event import AdjustmentType, QuarantineState
from metering.reading_sql import IS_AGGREGATED, Params, falls_into
from metering.selectors.archive import archived_at
from metering.selectors.archived_events import (
    archived_events,
    archived_rows,
    as_parameter,
    newest_archived_events,
)
from metering.selectors.customers import customer_ids
from metering.selectors.meters import meter_rules, rule_at
from metering.selectors.windows import hours_before

# One probe of the identities' key for each customer, as in `explaining`: LIMIT keeps it one.
_NAMED = """
SELECT i.event_id FROM customer c CROSS JOIN LATERAL (
    SELECT event_id FROM event_identity i
     WHERE i.customer_id = c.id AND i.identifier = %s LIMIT 1
) i LIMIT %s
"""
# One event as several versions of its properties, each with a sign: a source of reading_sql.
VERSIONS_OF_EVENT = """
SELECT e.*, v.properties, v.sign
FROM (SELECT %(event)s::bigint AS id, %(customer)s::bigint AS customer_id,
             %(workspace)s::bigint AS workspace_id, %(event_name)s::text AS event_name,
             %(identifier)s::text AS identifier, %(timestamp)s::timestamptz AS "timestamp",
             %(batch)s::bigint AS batch_id) e
CROSS JOIN jsonb_to_recordset(%(versions)s::jsonb) AS v(properties jsonb, sign integer)
WHERE true
"""
_OF_WINDOW = """
SELECT e.* FROM usage_window w
JOIN {events} e
  ON e."timestamp" >= w.start_at AND e."timestamp" < w.start_at + interval '1 hour'
 AND {condition}
WHERE w.id = %(window)s ORDER BY e."timestamp", e.identifier COLLATE "C" LIMIT %(limit)s
"""
_WINDOWS_OF = """
WITH used AS ({source} AND {is_aggregated}), reading AS ({readings})
SELECT DISTINCT w.id FROM reading r
JOIN usage_window w
  ON w.customer_id = r.customer_id AND w.meter_id = r.meter_id AND w.start_at = r.start_at
 AND w.workspace_id IS NOT DISTINCT FROM r.workspace_id AND w.dimensions = r.dimensions::jsonb
"""


class EventState(StrEnum):
    """How far an event came, as far as metering knows."""

    RECEIVED = "received"
    AGGREGATED = "aggregated"
    QUARANTINED = "quarantined"
    CANCELLED = "cancelled"


def find_event(customer: Customer, identifier: str) -> MeterEvent | None:
    """Return the stored event of an identifier, as it was sent; an archived one from its file."""
    identity = EventIdentity.objects.filter(customer=customer, identifier=identifier).first()
    if identity is None:
        return None
    if archived_at(identity.timestamp):
        return _archived_event(identity)
    return MeterEvent.objects.get(
        pk=identity.event_id, customer=customer, timestamp=identity.timestamp
    )


def find_event_named(customer: str, identifier: str) -> MeterEvent | None:
    """Return the stored event of its sender's names (an alias counts), or None."""
    found = customer_ids([customer]).get(customer)
    return None if found is None else find_event(Customer.objects.get(pk=found), identifier)


def _archived_event(identity: EventIdentity) -> MeterEvent | None:
    hour, names = hour_of(identity.timestamp), [identity.identifier]
    wanted = Wanted(customers=[identity.customer_id], identifiers=names, hours=[hour])
    return next(iter(archived_events(wanted)), None)


def newest_events(
    customer: Customer,
    *,
    event_name: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    below: int | None = None,
    most: int,
) -> list[MeterEvent]:
    """List a customer's stored events as they were sent, the highest id first.

    Those of archived months come from their files, which are asked only where the table has not
    events enough.

    Args:
        below: Only ids below this one.

    Raises:
        MonthArchived: such a file is not here.
    """
    asked = {
        "event_name": event_name,
        "timestamp__gte": start,
        "timestamp__lt": end,
        "pk__lt": below,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    events = list(MeterEvent.objects.filter(customer=customer, **given).order_by("-pk")[:most])
    above = events[-1].pk if len(events) == most else None
    wanted = Wanted(
        customers=[customer.pk], event_name=event_name, start=start, end=end, above=above,
        below=below,
    )  # fmt: skip
    events += newest_archived_events(wanted, most)
    events = sorted(events, key=lambda event: -event.pk)[:most]
    prefetch_related_objects(events, "customer", "workspace")
    return events


def event_ids_named(identifier: str, most: int) -> list[int]:
    """Return the ids of stored events of an identifier, whoever sent them."""
    with connection.cursor() as cursor:
        cursor.execute(_NAMED, [identifier, most])
        return [event_id for (event_id,) in cursor.fetchall()]


def quarantined_under(customer_external_id: str, identifier: str) -> QuarantinedEvent | None:
    """Return the open quarantined event of an identifier, the oldest if several wait."""
    return (
        QuarantinedEvent.objects.filter(
            customer_external_id=customer_external_id,
            identifier=identifier,
            state=QuarantineState.OPEN,
        )
        .order_by("id")
        .first()
    )


def newest_adjustment(event: MeterEvent) -> MeterEventAdjustment | None:
    """Return the adjustment that governs, or None."""
    return MeterEventAdjustment.objects.filter(event_id=event.pk).order_by("-id").first()


def adjustments_of_event(event: MeterEvent) -> list[MeterEventAdjustment]:
    """List the adjustments of an event with who made them, the oldest first; the last governs."""
    rows = MeterEventAdjustment.objects.filter(event_id=event.pk).select_related("created_by")
    return list(rows.order_by("id"))


def effective_properties(event: MeterEvent) -> Properties | None:
    """Return what the event says now; None if it was cancelled."""
    adjustment = newest_adjustment(event)
    return event.properties if adjustment is None else adjustment.properties


def event_state(event: MeterEvent) -> EventState:
    """Return how far a stored event came."""
    adjustment = newest_adjustment(event)
    if adjustment is not None and adjustment.type == AdjustmentType.CANCEL:
        return EventState.CANCELLED
    is_waiting = EventBatch.objects.filter(pk=event.batch_id, aggregated_at__isnull=True).exists()
    return EventState.RECEIVED if is_waiting else EventState.AGGREGATED


def state_of(customer_external_id: str, identifier: str, event: MeterEvent | None) -> EventState:
    """Return the state of a stored event, or of the report that waits in quarantine.

    Raises:
        NotFound: no such report was ever kept.
    """
    if event is not None:
        return event_state(event)
    if quarantined_under(customer_external_id, identifier) is None:
        raise NotFound(f"no event {identifier} of {customer_external_id} was received")
    return EventState.QUARANTINED


def events_of_window(window: UsageWindow, limit: int = 1000) -> list[MeterEvent]:
    """Return the events that the window's quantity is made of, oldest first.

    Their `properties` are those that count now; `is_adjusted` tells whether they were amended. A
    level that goes on from an hour before has its event first.
    """
    events = _events_in(window, limit)
    is_set_at_once = bool(events) and events[0].timestamp == window.start_at
    if window.meter.aggregation != Aggregation.TIME_WEIGHTED_SUM or is_set_at_once:
        return events
    before = hours_before(window).filter(event_count__gt=0).order_by("-start_at").first()
    going_on = _events_in(before, limit)[-1:] if before else []
    return [*going_on, *events][:limit]


def _events_in(window: UsageWindow, limit: int) -> list[MeterEvent]:
    if not archived_at(window.start_at):
        return list(_rows_in(window, limit, "used_meter_event", {}))
    wanted = Wanted(customers=[window.customer_id], hours=[window.start_at])
    events: list[MeterEvent] = []
    for rows in archived_rows(wanted):
        archived: Params = {"archived": as_parameter(rows)}
        events += _rows_in(window, limit, USED_ARCHIVED_EVENTS, archived)
        events = sorted(events, key=lambda event: (event.timestamp, event.identifier))[:limit]
    return events


def _rows_in(window: UsageWindow, limit: int, events: str, params: Params) -> Iterator[MeterEvent]:
    condition = falls_into(rule_at(window.meter, window.start_at))
    rows = MeterEvent.objects.raw(
        _OF_WINDOW.format(events=events, condition=condition.text),
        {**condition.params, **params, "window": window.pk, "limit": limit},
    )
    return iter(rows)


def windows_of_event(event: MeterEvent) -> list[UsageWindow]:
    """Return every window that the event was ever counted in, as sent or as amended.

    A cancelled event keeps its windows: it was counted there and taken back there.
    """
    adjustments = MeterEventAdjustment.objects.filter(event_id=event.pk, properties__isnull=False)
    versions = [event.properties, *adjustments.values_list("properties", flat=True)]
    additions = select_additions(meter_rules([event.event_name]), "used")
    if not additions.text:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            _WINDOWS_OF.format(
                source=VERSIONS_OF_EVENT, is_aggregated=IS_AGGREGATED, readings=additions.text
            ),
            {**additions.params, **versions_of(event, [(one, 0) for one in versions])},
        )
        ids = [pk for (pk,) in cursor.fetchall()]
    return list(UsageWindow.objects.filter(pk__in=ids).select_related("meter").order_by("id"))


def versions_of(event: MeterEvent, versions: list[tuple[Properties, int]]) -> Params:
    """Return the parameters of VERSIONS_OF_EVENT."""
    rows = [{"properties": properties, "sign": sign} for properties, sign in versions]
    return {
        "versions": write_json(rows),
        "event": event.pk,
        "customer": event.customer_id,
        "workspace": event.workspace_id,  # None is NULL.
        "event_name": event.event_name,
        "identifier": event.identifier,
        "timestamp": event.timestamp,
        "batch": event.batch_id,
    }
