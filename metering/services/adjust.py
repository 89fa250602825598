"""Cancel or amend one event: the event stays as it was sent, its adjustment says what counts.

The lock on the event's batch decides between two cases. Not aggregated yet: the adjustment is all
there is to write, and the aggregator, which needs the same lock, will read through it. Aggregated:
the windows are corrected here, the old reading taken away and the new one added. Either way an
event is counted once. Order of locks: batch, windows by key, outbox.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Func, JSONField, TextField, Value

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid, NotFound
from billing_project.kernel.models import User
from metering.aggregation import Properties
from metering.events import EventInput, refuse_unstorable
from metering.exact import write_json
from metering.judging import judge_values
from metering.models import Customer, EventBatch, MeterEvent, MeterEventAdjustment
from metering.models.event import AdjustmentType
from metering.properties import BadValue, check_properties
from metering.selectors.archive import refuse_archived
from metering.selectors.events import (
    VERSIONS_OF_EVENT,
    find_event,
    newest_adjustment,
    versions_of,
)
from metering.selectors.meters import meter_rules
from metering.services.aggregate import announce_usage
from metering.services.moving import move_usage
from metering.services.retrying import atomic_with_retries

_MOMENT = timedelta(microseconds=1)


@atomic_with_retries
def cancel_event(
    *, customer: Customer, identifier: str, reason: str, by: User, at: datetime
) -> MeterEventAdjustment:
    """Take an event out of usage; cancelling again returns the same adjustment.

    Only a backfill, which somebody else approves, can bring it back.

    Raises:
        NotFound: no such event is stored.
        Invalid: no reason.
    """
    event = _locked_event(customer, identifier, reason)
    newest = newest_adjustment(event)
    if newest is not None and newest.type == AdjustmentType.CANCEL:
        return newest
    return _adjust(event, AdjustmentType.CANCEL, newest, None, reason, by, at)


@atomic_with_retries
def amend_event(
    *,
    customer: Customer,
    identifier: str,
    properties: Mapping[str, Any],
    reason: str,
    by: User,
    at: datetime,
    based_on: int | None = None,
) -> MeterEventAdjustment:
    """Let an event count with other properties; the same amendment again returns the same row.

    Args:
        properties: All of them, not only those that differ.
        based_on: The adjustment that the caller saw, 0 for none; None: whatever stands.

    Raises:
        NotFound: no such event is stored.
        Conflict: the event was cancelled, or adjusted since the caller looked.
        Invalid: no reason; a property out of bounds; a meter's value missing or no quantity.
    """
    checked = _checked(properties)
    event = _locked_event(customer, identifier, reason)
    newest = newest_adjustment(event)
    if newest is not None and newest.type == AdjustmentType.CANCEL:
        raise Conflict(f"event {identifier} was cancelled; send the use under a new identifier")
    if newest is not None and write_json(newest.properties) == write_json(checked):
        return newest
    if based_on is not None and based_on != (newest.pk if newest else 0):
        raise Conflict(f"event {identifier} was adjusted meanwhile: look at it again")
    _check_values(event, checked)
    return _adjust(event, AdjustmentType.AMEND, newest, checked, reason, by, at)


def _locked_event(customer: Customer, identifier: str, reason: str) -> MeterEvent:
    """Find the event and lock its batch; what is read afterwards holds until the commit."""
    if not reason.strip():
        raise Invalid("an adjustment needs its reason")
    event = find_event(customer, identifier)
    if event is None:
        raise NotFound(f"no event {identifier} of {customer} is stored")
    EventBatch.objects.select_for_update(no_key=True).get(pk=event.batch_id)
    refuse_archived(event.timestamp, event.timestamp + _MOMENT)
    return event


def _said(event: MeterEvent, newest: MeterEventAdjustment | None) -> Properties:
    """Return what the event says so far; it was not cancelled."""
    if newest is None:
        return event.properties  # type: ignore[no-any-return]
    assert newest.properties is not None, "an amendment has properties"
    return newest.properties  # type: ignore[no-any-return]


def _checked(properties: Mapping[str, Any]) -> Properties:
    try:
        checked = check_properties(properties)
        refuse_unstorable(checked)
        return checked
    except BadValue as error:
        raise Invalid(f"{error.path} {error.detail}") from error


def _check_values(event: MeterEvent, properties: Properties) -> None:
    rules = [
        rule
        for rule in meter_rules([event.event_name])
        if rule.first_event_id <= event.pk and rule.governs(event.timestamp)
    ]
    report = EventInput(
        event_name=event.event_name, identifier=event.identifier, customer="", properties=properties
    )
    if verdict := judge_values(report, rules):
        raise Invalid(verdict.detail, code=verdict.code)


def _adjust(
    event: MeterEvent,
    kind: AdjustmentType,
    newest: MeterEventAdjustment | None,
    after: Properties | None,
    reason: str,
    by: User,
    at: datetime,
) -> MeterEventAdjustment:
    before = _said(event, newest)
    adjustment = MeterEventAdjustment.objects.create(
        customer_id=event.customer_id,
        identifier=event.identifier,
        event_id=event.pk,
        timestamp=event.timestamp,
        type=kind,
        properties=None if after is None else _exact(after),
        reason=reason,
        created_by=by,
        created_at=at,
        generation=newest.generation if newest else 0,
    )
    adjustment.refresh_from_db()
    if EventBatch.objects.filter(pk=event.batch_id, aggregated_at__isnull=False).exists():
        _correct_windows(event, before, after, at)
    audit.record(by=by, at=at, action=f"{kind}_event", subject=event, reason=reason)
    return adjustment


def _correct_windows(
    event: MeterEvent, before: Properties, after: Properties | None, at: datetime
) -> None:
    """Lock every window that loses or gains the event, then move the difference."""
    versions = [(before, -1)] if after is None else [(before, -1), (after, 1)]
    touched = move_usage(
        VERSIONS_OF_EVENT, versions_of(event, versions), meter_rules([event.event_name]), at
    )
    announce_usage(touched, at)


def _exact(properties: Properties) -> Func:
    """Hand properties to PostgreSQL as JSON text, so that no number passes through a float."""
    return Func(
        Value(write_json(properties), output_field=TextField()),
        template="(%(expressions)s)::jsonb",
        output_field=JSONField(),
    )
