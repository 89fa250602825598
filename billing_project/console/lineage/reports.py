"""One event as its sender asks for it: what was stored, how far it came, its lineage."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from billing_project.console.lineage.graph import Lineage, NodeType, Ref
from billing_project.console.lineage.state import EventState, state_of
from billing_project.console.lineage.walk import trace
from billing_project.kernel.errors import NotFound
from credits.selectors import why_unrated
from metering.models import MeterEvent, MeterEventAdjustment, QuarantinedEvent
from metering.models.event import AdjustmentType
from metering.selectors.events import (
    adjustments_of_event,
    find_event_named,
    quarantined_under,
    windows_of_event,
)


@dataclass(frozen=True)
class EventReport:
    """An event with its state; `properties` are those that count now (amended ones if any)."""

    customer: str
    workspace: str
    event_name: str
    identifier: str
    timestamp: datetime
    received_at: datetime
    properties: Mapping[str, object]
    original_properties: Mapping[str, object]  # As sent.
    adjustments: tuple[MeterEventAdjustment, ...]  # The oldest first; the last one governs.
    state: EventState
    reason: str  # Why it is quarantined, was amended or cancelled, or has no price yet.
    lineage: Lineage


def report_event(customer: str, identifier: str) -> EventReport:
    """Find an event by its sender's names, stored or quarantined.

    Raises:
        NotFound: nobody sent it, or it was refused at the door.
        MonthArchived: it lies in a file that is not here.
    """
    event = find_event_named(customer, identifier)
    if event is not None:
        return _stored(event)
    waiting = quarantined_under(customer, identifier)
    if waiting is None:
        raise NotFound(
            "no event of this customer is stored or waits under this identifier; whether a report"
            " was dismissed or refused says /v1/event_explanations"
        )
    return _quarantined(waiting)


def _stored(event: MeterEvent) -> EventReport:
    adjustments = adjustments_of_event(event)
    newest = adjustments[-1] if adjustments else None
    is_cancelled = newest is not None and newest.type == AdjustmentType.CANCEL
    lineage = trace([Ref(NodeType.METER_EVENT, event.pk)])
    return EventReport(
        customer=event.customer.external_id,
        workspace=event.workspace.external_id if event.workspace else "",
        event_name=event.event_name,
        identifier=event.identifier,
        timestamp=event.timestamp,
        received_at=event.received_at,
        properties=(newest.properties if newest else None) or event.properties,
        original_properties=event.properties,
        adjustments=tuple(adjustments),
        state=state_of(lineage, is_cancelled=is_cancelled),
        reason=_reason(event, newest),
        lineage=lineage,
    )


def _reason(event: MeterEvent, newest: MeterEventAdjustment | None) -> str:
    """Tell why it was adjusted, and why what counts of it is not rated."""
    adjusted = [newest.reason] if newest else []
    if newest is not None and newest.type == AdjustmentType.CANCEL:
        return newest.reason
    return "; ".join([*adjusted, *why_unrated(event.customer_id, windows_of_event(event))])


def _quarantined(waiting: QuarantinedEvent) -> EventReport:
    return EventReport(
        customer=waiting.customer_external_id,
        workspace=waiting.workspace_external_id,
        event_name=waiting.event_name,
        identifier=waiting.identifier,
        timestamp=waiting.timestamp,
        received_at=waiting.received_at,
        properties=waiting.properties,
        original_properties=waiting.properties,
        adjustments=(),
        state=EventState.QUARANTINED,
        reason=waiting.reason,
        lineage=Lineage((), (), is_truncated=False),
    )
