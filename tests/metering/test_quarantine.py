"""Quarantine: what was kept is replayed once it can be billed, and billed once."""

from datetime import datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import AuditEntry, User
from billing_project.kernel.users import worker_user
from metering.models import (
    Customer,
    MeterEvent,
    QuarantinedEvent,
    QuarantineGroup,
    UsageWindow,
)
from metering.services.aggregate import aggregate_batches
from metering.services.customers import add_alias
from metering.services.quarantine import ReplayResult, dismiss_quarantined, replay_quarantine
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def customer(at: datetime, db: None) -> Customer:
    """Return acme, which has a meter of tokens."""
    a_meter(at)
    return a_customer(at)


def _alias(customer: Customer, by: User, at: datetime) -> None:
    add_alias(external_id="acme-eu", customer=customer, reason="region", by=by, at=at)


def test_mapped_events_are_replayed_once(customer: Customer, engineer: User, at: datetime) -> None:
    send(at, *(an_event(f"e{i}", customer="acme-eu") for i in range(3)))
    _alias(customer, engineer, at)

    first = replay_quarantine(by=engineer, at=at, customer_external_id="acme-eu")
    second = replay_quarantine(by=engineer, at=at, customer_external_id="acme-eu")

    aggregate_batches(at=at)
    assert (first, second) == (ReplayResult(replayed=3), ReplayResult())
    assert UsageWindow.objects.get().quantity == 300
    row = QuarantinedEvent.objects.first()
    assert row is not None
    assert (row.state, row.resolved_by, row.resolution) == ("replayed", engineer, "stored")


def test_use_without_a_time_counts_when_it_was_first_received(
    customer: Customer, engineer: User, at: datetime
) -> None:
    send(at, an_event(customer="acme-eu"))
    _alias(customer, engineer, at)
    much_later = at + timedelta(days=90)

    replay_quarantine(by=engineer, at=much_later)

    event = MeterEvent.objects.get()
    assert (event.timestamp, event.received_at) == (at, much_later)
    assert send(much_later, an_event()).duplicates == 1


def test_a_new_meter_counts_what_is_replayed_for_it(engineer: User, at: datetime) -> None:
    send(at, an_event(event_name="image"))
    a_meter(at, "count", code="images", event_name="image")

    result = replay_quarantine(by=engineer, at=at, reason="unknown_event_name")
    aggregate_batches(at=at)

    assert result.replayed == 1
    assert UsageWindow.objects.get().meter.code == "images"


def test_what_is_still_not_billable_stays_open(engineer: User, at: datetime) -> None:
    send(at, an_event(customer="nobody"))

    assert replay_quarantine(by=engineer, at=at) == ReplayResult(still_open=1)
    assert QuarantinedEvent.objects.get().state == "open"


def test_a_value_that_a_new_meter_cannot_read_stays_open(engineer: User, at: datetime) -> None:
    send(at, an_event(event_name="image", properties={"pixels": "many"}))
    a_meter(at, code="pixels", event_name="image", value_property="pixels")

    result = replay_quarantine(by=engineer, at=at)

    assert result == ReplayResult(still_open=1)
    assert result.waits_for == "pixels is not a plain decimal number"


def test_a_conflict_stays_open(engineer: User, at: datetime) -> None:
    send(at, an_event())
    send(at, an_event(properties={"model": "opus", "tokens": "1"}))

    assert replay_quarantine(by=engineer, at=at) == ReplayResult(conflicts=1)
    assert QuarantinedEvent.objects.get().state == "open"


def test_what_its_sender_sent_again_meanwhile_is_a_duplicate(
    customer: Customer, engineer: User, at: datetime
) -> None:
    send(at, an_event(customer="acme-eu"))
    _alias(customer, engineer, at)
    send(at, an_event(customer="acme"))

    assert replay_quarantine(by=engineer, at=at) == ReplayResult(duplicates=1)
    assert QuarantinedEvent.objects.get().state == "replayed"
    assert MeterEvent.objects.count() == 1


def test_what_is_sent_again_in_good_form_closes_what_waited(at: datetime) -> None:
    send(at, an_event(properties={"model": "haiku"}))  # Its tokens are missing.
    send(at, an_event("other", properties={"model": "haiku"}))

    result = send(at, an_event())

    row, other = QuarantinedEvent.objects.order_by("id")
    assert result.accepted == 1
    assert (row.state, row.resolution) == ("dismissed", "superseded by the stored event")
    assert row.resolved_by == worker_user()
    assert row.resolved_at == at
    assert other.state == "open"
    entry = AuditEntry.objects.get(subject=f"quarantinedevent:{row.pk}")
    assert entry.reason == "superseded by the stored event"


def test_the_good_report_may_come_in_the_same_batch(at: datetime) -> None:
    send(at, an_event(properties={"model": "haiku"}), an_event())

    assert QuarantinedEvent.objects.get().state == "dismissed"


def test_a_retry_of_what_was_superseded_is_not_kept_again(at: datetime) -> None:
    missing = an_event(properties={"model": "haiku"})
    send(at, missing)
    send(at, an_event())

    assert send(at, missing).accepted == 0
    assert [row.state for row in QuarantinedEvent.objects.all()] == ["dismissed"]
    aggregate_batches(at=at)
    assert UsageWindow.objects.get().quantity == 100


def test_a_batch_asks_one_question_of_an_empty_quarantine(at: datetime) -> None:
    with CaptureQueriesContext(connection) as queries:
        send(at, an_event("a"), an_event("b"))

    assert sum("quarantined_event" in query["sql"] for query in queries) == 1


def test_what_was_stored_with_other_content_stays_open_as_a_conflict(
    customer: Customer, engineer: User, at: datetime
) -> None:
    send(at, an_event(customer="acme-eu", properties={"model": "haiku", "tokens": "7"}))
    _alias(customer, engineer, at)
    send(at, an_event(customer="acme"))  # Other content, under the customer's other id.

    result = replay_quarantine(by=engineer, at=at)

    aggregate_batches(at=at)
    row = QuarantinedEvent.objects.get()
    assert (result, result.tried) == (ReplayResult(conflicts=1), 1)
    assert row.state == "open"
    assert UsageWindow.objects.get().quantity == 100


def test_two_contents_under_one_identifier_store_the_first(
    customer: Customer, engineer: User, at: datetime
) -> None:
    send(at, an_event(customer="acme-eu"))
    send(at, an_event(customer="acme-eu", properties={"model": "x", "tokens": "5"}))
    _alias(customer, engineer, at)

    result = replay_quarantine(by=engineer, at=at)

    assert result == ReplayResult(replayed=1, conflicts=1)
    assert MeterEvent.objects.get().properties["tokens"] == "100"


def test_only_the_rows_that_were_asked_for_are_replayed(
    customer: Customer, engineer: User, at: datetime
) -> None:
    send(at, an_event("a", customer="acme-eu"), an_event("b", customer="acme-eu"))
    _alias(customer, engineer, at)
    chosen = QuarantinedEvent.objects.get(identifier="b")

    result = replay_quarantine(by=engineer, at=at, ids=[chosen.pk])

    assert result.replayed == 1
    assert MeterEvent.objects.get().identifier == "b"


def test_dismissed_rows_are_closed_with_a_reason(engineer: User, at: datetime) -> None:
    send(at, an_event(customer="nobody"))
    ids = list(QuarantinedEvent.objects.values_list("id", flat=True))

    with pytest.raises(Invalid):
        dismiss_quarantined(ids=ids, reason="", by=engineer, at=at)
    counts = [dismiss_quarantined(ids=ids, reason="load test", by=engineer, at=at) for _ in "ab"]

    assert counts == [1, 0]
    assert QuarantinedEvent.objects.get().resolution == "load test"
    assert replay_quarantine(by=engineer, at=at) == ReplayResult()


@pytest.mark.parametrize("days", [0, 1, 90])
def test_a_repeat_of_what_was_dismissed_is_a_duplicate_that_says_so(
    customer: Customer, engineer: User, at: datetime, days: int
) -> None:
    """It waits for nobody, however late it comes and good it is by now; another report is new."""
    lost = an_event(customer="nobody", timestamp=at)
    assert send(at, lost, lost).quarantined == 2
    dismiss_quarantined(
        ids=[QuarantinedEvent.objects.get().pk], reason="a test", by=engineer, at=at
    )

    result = send(at + timedelta(days=days), lost, an_event("other", customer="nobody"), lost)

    assert (result.duplicates, result.quarantined, result.rejected) == (2, 1, 0)
    told = result.results[0]
    assert (told.status, told.code) == ("duplicate", "dismissed")
    assert told.detail == f"this report was dismissed on {at:%Y-%m-%d}: it is not billed"
    assert QuarantinedEvent.objects.filter(state="open").count() == 1
    changed = an_event(customer="nobody", timestamp=at, properties={"tokens": "5"})
    assert send(at, changed).quarantined == 1
    add_alias(external_id="nobody", customer=customer, reason="theirs", by=engineer, at=at)
    again = send(at, lost, lost, an_event("new"))
    assert [(one.status, one.code) for one in again.results] == [("duplicate", "dismissed")] * 2
    assert [event.identifier for event in MeterEvent.objects.all()] == ["new"]


def test_what_was_dismissed_is_not_billed_once_its_customer_is_made(
    engineer: User, at: datetime
) -> None:
    lost = an_event(customer="nobody", timestamp=at)
    send(at, lost)
    row = QuarantinedEvent.objects.get()
    dismiss_quarantined(ids=[row.pk], reason="a test", by=engineer, at=at)
    a_customer(at, "nobody")

    again = send(at, lost)
    changed = send(at, an_event(customer="nobody", timestamp=at, properties={"tokens": "5"}))
    after = send(at, lost)

    assert [(one.status, one.code) for one in again.results] == [("duplicate", "dismissed")]
    assert (again.accepted, changed.accepted) == (0, 1)
    assert after.conflicts == 1
    assert MeterEvent.objects.get().properties == {"tokens": "5"}


def test_a_repeat_of_what_still_waits_goes_on_waiting(at: datetime) -> None:
    lost = an_event(customer="nobody", timestamp=at)

    results = [send(at + timedelta(days=days), lost) for days in (0, 1, 90)]

    assert [one.quarantined for one in results] == [1, 1, 1]
    assert QuarantinedEvent.objects.count() == 1


def test_an_event_waits_for_what_its_last_try_found_and_keeps_what_it_came_with(
    customer: Customer, engineer: User, at: datetime
) -> None:
    late = at + timedelta(days=1)
    send(at, an_event("a", customer="acme-eu", properties={"model": "haiku"}))
    first = QuarantinedEvent.objects.get()
    replay_quarantine(by=engineer, at=at)
    _alias(customer, engineer, at)

    result = replay_quarantine(by=engineer, at=late)

    row = QuarantinedEvent.objects.get()
    assert (first.reason, row.reason) == ("unknown_customer", "missing_value")
    assert result.waits_for == row.detail == "meter tokens_sum reads tokens, which is not there"
    tries = [(one.reason_before, one.reason, one.tried_at) for one in row.tries.order_by("id")]
    assert tries == [
        ("unknown_customer", "unknown_customer", at), ("unknown_customer", "missing_value", late),
    ]  # fmt: skip
    (group,) = QuarantineGroup.objects.all()
    assert (group.reason, group.missing, group.role) == ("missing_value", row.detail, "engineering")


def test_what_the_door_would_refuse_today_and_what_contradicts_is_named(
    customer: Customer, engineer: User, at: datetime
) -> None:
    other = an_event("b", event_name="other", properties={"model": "x", "count": "many"})
    send(at, other, an_event("c", customer="acme-eu"))
    a_meter(at, code="counts", event_name="other", value_property="count")
    _alias(customer, engineer, at)
    send(at, an_event("c", properties={"model": "x", "tokens": "5"}))

    replay_quarantine(by=engineer, at=at)

    found = dict(QuarantinedEvent.objects.values_list("identifier", "reason"))
    assert found == {"b": "invalid_value", "c": "identifier_conflict"}


def test_the_reason_changes_only_by_a_try_which_nobody_edits(
    customer: Customer, engineer: User, at: datetime
) -> None:
    send(at, an_event(customer="acme-eu"))
    replay_quarantine(by=engineer, at=at)

    for statement in (
        "UPDATE quarantined_event SET reason = 'missing_value'",
        "UPDATE quarantined_event SET detail = 'another'",
        "UPDATE quarantine_try SET reason = 'missing_value'",
        "DELETE FROM quarantine_try",
    ):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
