"""What waits in quarantine: chosen rows, groups of one cause, who answers for them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from django.db.models import CharField, F, Func, QuerySet
from django.db.models.lookups import Exact

from metering.aggregation import Value, text_of
from metering.events import EventInput
from metering.models import Customer, MeterEvent, QuarantinedEvent, QuarantineGroup
from metering.models.event import QuarantineReason, QuarantineState
from metering.selectors.customers import customer_ids
from metering.selectors.events import effective_properties, find_event

_OF_CUSTOMERS = """
SELECT c.id, q.count, q.since FROM (
    SELECT customer_external_id, count(*) AS count, min(received_at) AS since
    FROM quarantined_event WHERE state = 'open'
      AND (%(name)s::text IS NULL OR customer_external_id = %(name)s)
    GROUP BY customer_external_id HAVING count(*) >= %(least)s
) q JOIN customer c ON c.external_id = q.customer_external_id ORDER BY c.id
"""
MISSING = Func(
    F("reason"),
    F("event_name"),
    F("detail"),
    F("customer_external_id"),
    function="quarantine_missing",
    output_field=CharField(),
)


class Kept(NamedTuple):
    """How many events of a customer wait in quarantine, and since when."""

    customer_id: int
    event_count: int
    since: datetime


def waiting_of_customers(least: Decimal, customer: Customer | None = None) -> list[Kept]:
    """List customers of whom so many events or more wait in quarantine; unknown ones are none."""
    with connection.cursor() as cursor:
        name = None if customer is None else customer.external_id
        cursor.execute(_OF_CUSTOMERS, {"least": least, "name": name})
        return [Kept(*row) for row in cursor.fetchall()]


@dataclass(frozen=True)
class Chosen:
    """Which rows; all that is given must match.

    `missing` is what a group waits for, as `QuarantineGroup` names it.
    """

    customer_external_id: str | None = None
    event_name: str | None = None
    reason: str | None = None
    missing: str | None = None
    ids: Collection[int] | None = None
    received_from: datetime | None = None
    received_until: datetime | None = None  # Not included.

    def is_all(self) -> bool:
        """Tell whether nothing narrows the choice."""
        return self == Chosen()

    def rows(self) -> QuerySet[QuarantinedEvent]:
        """Return the rows in any state, in no order."""
        wanted = {
            "customer_external_id": self.customer_external_id,
            "event_name": self.event_name,
            "reason": self.reason,
            "pk__in": self.ids,
            "received_at__gte": self.received_from,
            "received_at__lt": self.received_until,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        rows = QuarantinedEvent.objects.order_by().filter(**given)
        return rows if self.missing is None else rows.filter(Exact(MISSING, self.missing))

    def open_rows(self) -> QuerySet[QuarantinedEvent]:
        """Return the rows that wait."""
        return self.rows().filter(state=QuarantineState.OPEN)


def groups() -> QuerySet[QuarantineGroup]:
    """Return what waits by its cause, the largest group first."""
    return QuarantineGroup.objects.select_related("sample", "person").order_by("-event_count", "id")


def group_of(row: QuarantinedEvent) -> QuarantineGroup | None:
    """Return the group of an open row."""
    missing = QuarantinedEvent.objects.filter(pk=row.pk).values_list(MISSING, flat=True).first()
    return groups().filter(reason=row.reason, missing=missing).first()


def chosen_of(group: QuarantineGroup) -> Chosen:
    """Choose a group's rows."""
    return Chosen(reason=group.reason, missing=group.missing)


def sent_of(row: QuarantinedEvent) -> EventInput:
    """Return a row as its sender wrote it."""
    return EventInput(
        event_name=row.event_name,
        identifier=row.identifier,
        customer=row.customer_external_id,
        workspace=row.workspace_external_id,
        timestamp=row.timestamp if row.is_timestamp_sent else None,
        properties=row.properties,
    )


@dataclass(frozen=True)
class Difference:
    """One value that a conflicting report says differently; None where it is not said."""

    name: str
    stored: str | None
    reported: str | None
    is_amendable: bool  # Properties can be amended; when, where and what it was cannot.


@dataclass(frozen=True)
class ConflictOf:
    """A conflicting report beside the event that is stored under its identifier."""

    event: MeterEvent
    differences: tuple[Difference, ...]

    @property
    def fixed(self) -> list[str]:
        """Name what differs and no amendment can change."""
        return [one.name for one in self.differences if not one.is_amendable]


def conflict_of(row: QuarantinedEvent) -> ConflictOf | None:
    """Return what a quarantined report contradicts, or None if it contradicts nothing stored."""
    if row.reason != QuarantineReason.IDENTIFIER_CONFLICT:
        return None
    customer_id = customer_ids([row.customer_external_id]).get(row.customer_external_id)
    if customer_id is None:
        return None
    event = find_event(Customer.objects.get(pk=customer_id), row.identifier)
    return None if event is None else ConflictOf(event, (*_facts(row, event), *_values(row, event)))


def _facts(row: QuarantinedEvent, event: MeterEvent) -> list[Difference]:
    pairs = [
        ("event name", event.event_name, row.event_name),
        ("workspace", _workspace(event), row.workspace_external_id),
    ]
    if row.is_timestamp_sent:
        pairs.append(("timestamp", event.timestamp.isoformat(), row.timestamp.isoformat()))
    return [Difference(name, was, says, False) for name, was, says in pairs if was != says]


def _values(row: QuarantinedEvent, event: MeterEvent) -> list[Difference]:
    stored, reported = effective_properties(event) or {}, row.properties
    return [
        Difference(name, _text(stored.get(name)), _text(reported.get(name)), True)
        for name in sorted({*stored, *reported})
        if _text(stored.get(name)) != _text(reported.get(name))
    ]


def _workspace(event: MeterEvent) -> str:
    return event.workspace.external_id if event.workspace else ""


def _text(value: Value | None) -> str | None:
    return None if value is None else text_of(value)
