"""Adjustments: the event stays, what counts changes, at once and once."""

from datetime import datetime
from decimal import Decimal

import pytest

from billing_project.kernel import outbox
from billing_project.kernel.errors import Conflict, Invalid, NotFound
from billing_project.kernel.models import AuditEntry, User
from metering.models import Customer, MeterEvent, MeterEventAdjustment, UsageWindow
from metering.selectors.events import (
    EventState,
    effective_properties,
    event_state,
    events_of_window,
    find_event,
    windows_of_event,
)
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer(at: datetime) -> Customer:
    """Return acme, with a stored event of 100 tokens of haiku."""
    customer = a_customer(at)
    a_meter(at)
    send(at, an_event())
    return customer


def _cancel(customer: Customer, by: User, at: datetime) -> MeterEventAdjustment:
    return cancel_event(customer=customer, identifier="e1", reason="test run", by=by, at=at)


def _amend(
    customer: Customer, by: User, at: datetime, model: str = "haiku", tokens: object = "40"
) -> MeterEventAdjustment:
    return amend_event(
        customer=customer, identifier="e1", properties={"model": model, "tokens": tokens},
        reason="counted twice by the app", by=by, at=at,
    )  # fmt: skip


def _event(customer: Customer) -> MeterEvent:
    event = find_event(customer, "e1")
    assert event is not None
    return event


def test_a_cancelled_event_leaves_its_window(
    customer: Customer, engineer: User, at: datetime
) -> None:
    aggregate_batches(at=at)

    _cancel(customer, engineer, at)

    window = UsageWindow.objects.get()
    assert (window.quantity, window.event_count, window.revision) == (Decimal(0), 0, 2)
    assert outbox.waiting("usage_changed") == [customer.pk]
    assert event_state(_event(customer)) == EventState.CANCELLED
    assert AuditEntry.objects.get(action="cancel_event").reason == "test run"


def test_cancelling_again_returns_the_same_adjustment(
    customer: Customer, engineer: User, at: datetime
) -> None:
    aggregate_batches(at=at)

    assert _cancel(customer, engineer, at) == _cancel(customer, engineer, at)
    assert UsageWindow.objects.get().revision == 2


def test_an_event_that_is_cancelled_before_aggregation_is_never_counted(
    customer: Customer, engineer: User, at: datetime
) -> None:
    _cancel(customer, engineer, at)

    assert aggregate_batches(at=at) == 1
    assert not UsageWindow.objects.exists()


def test_an_amendment_moves_the_difference_between_windows(
    customer: Customer, engineer: User, at: datetime
) -> None:
    send(at, an_event("e2"))
    aggregate_batches(at=at)

    _amend(customer, engineer, at, model="opus", tokens=Decimal("40.5"))

    quantities = {w.dimensions["model"]: w.quantity for w in UsageWindow.objects.all()}
    assert quantities == {"haiku": Decimal(100), "opus": Decimal("40.5")}
    assert effective_properties(_event(customer)) == {"model": "opus", "tokens": Decimal("40.5")}
    assert _event(customer).properties == {"model": "haiku", "tokens": "100"}


def test_the_newest_amendment_governs(customer: Customer, engineer: User, at: datetime) -> None:
    aggregate_batches(at=at)

    _amend(customer, engineer, at, tokens="40")
    _amend(customer, engineer, at, tokens="70")
    again = _amend(customer, engineer, at, tokens="70")

    assert UsageWindow.objects.get().quantity == 70
    assert again == MeterEventAdjustment.objects.first()
    assert MeterEventAdjustment.objects.count() == 2


def test_a_cancelled_event_cannot_be_amended(
    customer: Customer, engineer: User, at: datetime
) -> None:
    _cancel(customer, engineer, at)

    with pytest.raises(Conflict):
        _amend(customer, engineer, at)


@pytest.mark.parametrize("tokens", ["abc", "-1", "1e400", None, Decimal("NaN")])
def test_an_amendment_needs_what_the_meters_read(
    customer: Customer, engineer: User, at: datetime, tokens: object
) -> None:
    with pytest.raises(Invalid):
        _amend(customer, engineer, at, tokens=tokens)


def test_an_unknown_event_cannot_be_adjusted(
    customer: Customer, engineer: User, at: datetime
) -> None:
    with pytest.raises(NotFound):
        cancel_event(customer=customer, identifier="e9", reason="x", by=engineer, at=at)


def test_a_reason_is_required(customer: Customer, engineer: User, at: datetime) -> None:
    with pytest.raises(Invalid):
        cancel_event(customer=customer, identifier="e1", reason=" ", by=engineer, at=at)


def test_a_window_shows_its_events_as_they_count(
    customer: Customer, engineer: User, at: datetime
) -> None:
    send(at, an_event("e0"), an_event("e2", properties={"model": "opus", "tokens": "1"}))
    aggregate_batches(at=at)
    _amend(customer, engineer, at, tokens="7")
    window = UsageWindow.objects.get(dimensions__model="haiku")

    events = events_of_window(window)

    found = [(e.identifier, e.properties["tokens"], e.is_adjusted) for e in events]  # type: ignore[attr-defined]
    assert found == [("e0", "100", False), ("e1", "7", True)]


def test_an_event_shows_every_window_that_it_was_counted_in(
    customer: Customer, engineer: User, at: datetime
) -> None:
    assert windows_of_event(_event(customer)) == []

    aggregate_batches(at=at)
    _amend(customer, engineer, at, model="opus")
    _cancel(customer, engineer, at)

    models = [w.dimensions["model"] for w in windows_of_event(_event(customer))]
    assert models == ["haiku", "opus"]
