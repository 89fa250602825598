"""Capture: each event is stored once, kept, or refused; nothing is lost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection

from billing_project.kernel.models import User
from metering.events import BadItem, decode_body
from metering.models import (
    EventBatch,
    EventIdentity,
    EventRejection,
    MeterEvent,
    QuarantinedEvent,
    Workspace,
)
from metering.services.adjust import cancel_event
from metering.services.capture import capture_events
from metering.services.customers import add_alias
from tests.metering.builders import a_customer, a_meter, an_event, send, statuses

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _set_up(at: datetime, db: None) -> None:
    a_customer(at)
    a_meter(at)


def test_an_event_is_stored_with_its_batch_and_identity(at: datetime) -> None:
    result = send(at, an_event("e1", workspace="prod"))

    event, batch = MeterEvent.objects.get(), EventBatch.objects.get()
    assert (result.accepted, result.results) == (1, ())
    assert (event.identifier, event.timestamp, event.received_at) == ("e1", at, at)
    assert event.properties == {"model": "haiku", "tokens": "100"}
    assert event.batch_id == batch.pk
    assert (batch.event_count, batch.first_event_id, batch.last_event_id) == (1, event.pk, event.pk)
    assert EventIdentity.objects.get().event_id == event.pk


def test_a_batch_takes_the_same_number_of_statements_whatever_its_size(
    at: datetime, django_assert_max_num_queries: object
) -> None:
    events = [an_event(f"e{i}", workspace=f"w{i % 5}") for i in range(200)]

    with django_assert_max_num_queries(20):  # type: ignore[operator]
        result = send(at, *events)

    assert result.accepted == 200


def test_the_same_event_again_is_a_duplicate(at: datetime) -> None:
    send(at, an_event())

    assert statuses(send(at + timedelta(hours=3), an_event()), 1) == ["duplicate"]
    assert MeterEvent.objects.count() == 1


def test_an_event_without_a_timestamp_is_still_a_duplicate_later(at: datetime) -> None:
    send(at, an_event())

    later = send(at + timedelta(days=400), an_event())

    assert (later.duplicates, MeterEvent.objects.get().timestamp) == (1, at)


def test_equal_numbers_are_equal_content(at: datetime) -> None:
    send(at, an_event(properties={"model": "haiku", "tokens": 1}))

    again = send(at, an_event(properties={"model": "haiku", "tokens": Decimal("1.0")}))

    assert again.duplicates == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"properties": {"model": "haiku", "tokens": "101"}},
        {"properties": {"model": "opus", "tokens": "100"}},
        {"properties": {"model": "haiku", "tokens": 100}},
        {"properties": {"model": "haiku", "tokens": "100", "more": True}},
        {"workspace": "prod"},
        {"timestamp": datetime(2026, 11, 20, 12, 0, tzinfo=UTC)},
    ],
)
def test_other_content_under_the_same_identifier_is_a_conflict_and_kept(
    at: datetime, changes: dict[str, Any]
) -> None:
    send(at, an_event())

    first, second = send(at, an_event(**changes)), send(at, an_event(**changes))

    assert (first.conflicts, second.conflicts) == (1, 1)
    assert MeterEvent.objects.get().properties == {"model": "haiku", "tokens": "100"}
    assert QuarantinedEvent.objects.get().reason == "identifier_conflict"


def test_an_identifier_belongs_to_its_customer_alone(at: datetime) -> None:
    a_customer(at, "other")

    result = send(at, an_event(), an_event(customer="other"))

    assert result.accepted == 2


def test_an_alias_names_the_same_customer(at: datetime, engineer: User) -> None:
    customer = a_customer(at)
    add_alias(external_id="acme-eu", customer=customer, reason="region", by=engineer, at=at)
    send(at, an_event())

    assert send(at, an_event(customer="acme-eu")).duplicates == 1


def test_repeats_inside_a_batch_are_judged_in_its_order(at: datetime) -> None:
    other = {"model": "haiku", "tokens": "5"}

    result = send(at, an_event(), an_event(), an_event(properties=other), an_event("e2"))

    assert statuses(result, 4) == ["accepted", "duplicate", "conflict", "accepted"]
    assert MeterEvent.objects.count() == 2


def test_what_comes_before_the_stored_report_keeps_its_own_fault(at: datetime) -> None:
    late = an_event(timestamp=at - timedelta(days=36))

    result = send(at, late, an_event())

    assert [item.code for item in result.results] == ["timestamp_too_far_in_past"]
    assert result.accepted == 1


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (timedelta(days=-35), None),
        (timedelta(days=-35, microseconds=-1), "timestamp_too_far_in_past"),
        (timedelta(minutes=5), None),
        (timedelta(minutes=5, microseconds=1), "timestamp_in_future"),
    ],
)
def test_the_time_window_includes_its_ends(
    at: datetime, offset: timedelta, code: str | None
) -> None:
    result = send(at, an_event(timestamp=at + offset))

    assert [item.code for item in result.results] == ([code] if code else [])


def test_a_stale_retry_of_a_stored_event_is_a_duplicate_not_a_rejection(at: datetime) -> None:
    event = an_event(timestamp=at)
    send(at, event)

    assert send(at + timedelta(days=100), event).duplicates == 1


def test_a_meter_made_later_does_not_spoil_a_retry(at: datetime) -> None:
    send(at, an_event())
    a_meter(at, code="other", value_property="other")

    assert send(at, an_event()).duplicates == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"customer": "nobody"}, "unknown_customer"),
        ({"event_name": "unheard_of"}, "unknown_event_name"),
        ({"properties": {"model": "haiku"}}, "missing_value"),
    ],
)
def test_what_could_be_billed_once_mapped_is_quarantined_once(
    at: datetime, changes: dict[str, Any], code: str
) -> None:
    first = send(at, an_event(**changes))
    retry = send(at + timedelta(days=1), an_event(**changes))

    assert (first.quarantined, retry.quarantined) == (1, 1)
    row = QuarantinedEvent.objects.get()
    assert (row.reason, row.timestamp, row.state) == (code, at, "open")
    assert not MeterEvent.objects.exists()


def test_a_late_retry_of_a_quarantined_event_stays_quarantined(at: datetime) -> None:
    event = an_event(customer="nobody", timestamp=at)
    send(at, event)

    late = send(at + timedelta(days=60), event)

    assert [item.code for item in late.results] == ["unknown_customer"]


def test_filters_decide_whether_a_value_is_missed(at: datetime) -> None:
    a_meter(
        at, code="images", value_property="pixels",
        filters=[{"property": "kind", "operator": "eq", "value": "image"}],
    )  # fmt: skip
    tokens = {"model": "haiku", "tokens": "1"}

    result = send(
        at, an_event("a", properties=tokens), an_event("b", properties={**tokens, "kind": "image"})
    )

    assert statuses(result, 2) == ["accepted", "quarantined"]


@pytest.mark.parametrize("value", ["abc", "-1", "NaN", "1e5", "\uff11\uff12", "", True, -1, 10**24])
def test_a_value_that_is_no_quantity_is_rejected_and_counted(at: datetime, value: object) -> None:
    result = send(at, an_event(properties={"model": "haiku", "tokens": value}))

    assert [item.code for item in result.results] == ["invalid_value"]
    row = EventRejection.objects.get()
    assert (row.code, row.count, row.api_key_name, row.day) == (
        "invalid_value", 1, "test", at.date(),
    )  # fmt: skip
    assert row.sample["identifier"] == "e1"


def test_a_name_that_cannot_be_stored_costs_its_own_event(at: datetime) -> None:
    items = decode_body(
        rb"""{"events": [{"x\u0000y": 1}, {"event_name": "llm_request", "identifier": "e1",
        "customer": "acme", "properties": {"model": "haiku", "tokens": "1"}}]}"""
    ).items

    result = capture_events(items=items, sender="app", at=at)

    assert (result.accepted, result.rejected) == (1, 1)
    assert EventRejection.objects.get().sample["detail"].endswith("unknown field `xy`")


def test_rejections_add_up_by_code_and_day(at: datetime) -> None:
    bad = BadItem("is not readable as an event")
    capture_events(items=[bad, bad, an_event()], sender="app", at=at)
    capture_events(items=[bad], sender="app", at=at)

    assert EventRejection.objects.get().count == 3
    assert MeterEvent.objects.count() == 1


def test_an_unknown_workspace_is_made_with_its_history(at: datetime) -> None:
    send(at, an_event("a", workspace="prod"), an_event("b", workspace="prod"))

    workspace = Workspace.objects.get()
    assert (workspace.external_id, workspace.name) == ("prod", "prod")
    assert Workspace.history.get().history_change_reason == "first used by an event"
    assert set(MeterEvent.objects.values_list("workspace_id", flat=True)) == {workspace.pk}


def test_nothing_is_made_for_an_event_that_is_not_stored(at: datetime) -> None:
    send(at, an_event(workspace="prod", properties={}))

    assert not Workspace.objects.exists()


def test_a_missing_month_is_made_on_demand(at: datetime, settings: object) -> None:
    settings.EVENT_DAYS_BACK = 400  # type: ignore[attr-defined]

    result = send(at, an_event(timestamp=at - timedelta(days=390)))

    assert result.accepted == 1


def test_a_cancelled_event_stays_a_duplicate(at: datetime, engineer: User) -> None:
    send(at, an_event())
    cancel_event(customer=a_customer(at), identifier="e1", reason="test", by=engineer, at=at)

    assert send(at, an_event()).duplicates == 1


def test_a_row_that_breaks_a_check_is_no_archived_month(at: datetime) -> None:
    """Read as one, it would be tried five times and answered as busy."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE event_identity ADD CONSTRAINT no_e1 CHECK (identifier <> 'e1') NOT VALID"
        )

    with pytest.raises(IntegrityError, match="no_e1"):
        send(at, an_event("e1"))
