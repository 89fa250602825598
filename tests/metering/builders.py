"""Customers, meters and events for tests, made by the services that make them in life."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from billing_project.kernel.models import User
from billing_project.kernel.users import worker_user
from metering.events import EventInput
from metering.models import Customer, Meter
from metering.services.capture import CaptureResult, capture_events
from metering.services.customers import create_customer
from metering.services.meters import create_meter

EVENT_NAME = "llm_request"


def a_customer(at: datetime, external_id: str = "acme", by: User | None = None) -> Customer:
    """Make a customer that pays in dollars."""
    return create_customer(
        external_id=external_id, name=external_id.capitalize(), currency="USD",
        by=by or worker_user(), at=at,
    )  # fmt: skip


def a_meter(at: datetime, aggregation: str = "sum", **changes: Any) -> Meter:
    """Make a meter of `tokens` in llm_request, by model."""
    values: dict[str, Any] = {
        "code": f"tokens_{aggregation}",
        "name": f"Tokens, {aggregation}",
        "event_name": EVENT_NAME,
        "aggregation": aggregation,
        "unit": "token",
        "value_property": "" if aggregation == "count" else "tokens",
        "dimensions": ("model",),
        **changes,
    }
    return create_meter(**values, by=worker_user(), at=at)


def an_event(identifier: str = "e1", **changes: Any) -> EventInput:
    """Make a report of 100 tokens by acme; keyword arguments replace its fields."""
    values: dict[str, Any] = {
        "event_name": EVENT_NAME,
        "identifier": identifier,
        "customer": "acme",
        "properties": {"model": "haiku", "tokens": "100"},
        **changes,
    }
    return EventInput(**values)


def send(at: datetime, *events: EventInput, sender: str = "test") -> CaptureResult:
    """Capture events as one batch."""
    return capture_events(items=events, sender=sender, at=at)


def statuses(result: CaptureResult, count: int) -> Sequence[str]:
    """Return the status of every item, in order."""
    named = {item.index: str(item.status) for item in result.results}
    return [named.get(i, "accepted") for i in range(count)]
