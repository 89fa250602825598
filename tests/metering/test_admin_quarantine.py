"""The workbench in the back office: groups, owners, mapping, conflicts."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from billing_project.kernel.models import User
from metering.models import (
    Customer,
    Meter,
    MeterEvent,
    QuarantineAssignment,
    QuarantinedEvent,
    QuarantineRun,
)
from metering.selectors.quarantine import groups
from metering.services import quarantine_runs
from tests.console.backoffice import action_url, client_of, list_of, page_of, send, told
from tests.metering.builders import a_customer, a_meter, an_event
from tests.metering.builders import send as report
from tests.metering.late import a_late_policy, invoice_until

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def acme(settings: Any, at: datetime) -> Customer:
    settings.BILLING_CLOCK = at.isoformat()
    a_meter(at)
    return a_customer(at)


def _wait(at: datetime, count: int = 3, **changes: Any) -> Any:
    report(at, *(an_event(f"e{i}", **{"customer": "nobody", **changes}) for i in range(count)))
    return groups().get()


def test_a_group_without_a_button_that_helps_says_what_does(support: User, at: datetime) -> None:
    group = _wait(at, customer="acme", properties={"model": "haiku"})

    page = client_of(support).get(page_of(group)).content.decode()

    assert group.reason == "missing_value"
    assert "send the events again with the value, under the same identifiers" in page


def test_a_group_is_mapped_to_its_customer(support: User, at: datetime) -> None:
    group = _wait(at)
    client = client_of(support)

    done = send(client, action_url(group, "map_customer"), customer="acme", reason="renamed")

    assert told(done).startswith("success: nobody names acme now. Replayed 3.")
    assert MeterEvent.objects.count() == 3
    gone = client.get(page_of(group), follow=True)
    assert gone.redirect_chain[-1][0].startswith(list_of(type(group)))


def test_who_may_be_meant_is_named_and_not_taken(support: User, at: datetime) -> None:
    group = _wait(at)

    page = send(client_of(support), action_url(group, "map_customer"), customer="ac", reason="new")

    said = page.content.decode()
    assert "No customer has this external id. Did you mean acme (" in said
    assert not MeterEvent.objects.exists()


def test_an_unknown_name_gets_its_meter(engineer: User, at: datetime) -> None:
    group = _wait(at, customer="acme", event_name="image")
    fields = {
        "code": "images", "name": "Images", "aggregation": "count", "unit": "image",
        "dimensions": "model, size", "reason": "a new product",
    }  # fmt: skip

    done = send(client_of(engineer), action_url(group, "add_meter"), **fields)

    assert told(done).startswith("success: Meter images reads image now. Replayed 3.")
    assert Meter.objects.get(code="images").versions.get().dimensions == ["model", "size"]


def test_a_count_reads_no_property(engineer: User, at: datetime) -> None:
    group = _wait(at, customer="acme", event_name="image")
    fields = {"code": "i", "name": "I", "unit": "i", "reason": "x", "value_property": "n"}

    refused = send(
        client_of(engineer), action_url(group, "add_meter"), aggregation="count", **fields
    )

    assert refused.status_code == 422
    assert not Meter.objects.filter(code="i").exists()


def test_a_group_is_given_to_somebody(support: User, engineer: User, at: datetime) -> None:
    group = _wait(at)
    client, url = client_of(support), action_url(group, "assign")

    done = send(client, url, role="engineering", person="eli.engineer", note="their SDK")

    assert told(done) == "success: eli.engineer answers for nobody now."
    assert QuarantineAssignment.objects.get().note == "their SDK"
    assert b"eli.engineer" in client.get(list_of(type(group))).content


def test_a_large_group_shows_what_is_left(
    support: User, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine_runs, "AT_ONCE", 2)
    group = _wait(at)
    client = client_of(support)

    done = send(client, action_url(group, "dismiss_group"), reason="a load test")

    assert told(done).startswith("success: 2 of 2 dismissed, 1 left: ")
    run = QuarantineRun.objects.get()
    assert "2 of 3, 1 left" in client.get(page_of(run)).content.decode()


def test_a_small_group_is_replayed_at_once(support: User, at: datetime) -> None:
    group = _wait(at)

    done = send(client_of(support), action_url(group, "replay_group"))

    assert told(done) == "success: 0 of 3 replayed or closed."
    assert QuarantineRun.objects.get().finished_at == at


def test_a_conflict_shows_both_reports_and_is_decided(engineer: User, at: datetime) -> None:
    report(at, an_event())
    report(at, an_event(properties={"model": "haiku", "tokens": "70"}))
    row = QuarantinedEvent.objects.get()
    client, url = client_of(engineer), action_url(row, "amend_stored")
    page = client.get(url).content.decode()

    done = send(client, url, reason="recounted")

    assert "<td>100</td>" in page
    assert "<td>70</td>" in page
    assert told(done) == "success: e1 counts as it was reported later."
    row.refresh_from_db()
    assert row.state == "amended"


def test_finance_decides_on_late_events_and_on_nothing_else(maker: User, at: datetime) -> None:
    acme = Customer.objects.get()
    a_late_policy("quarantine", at - 2 * DAY, acme)
    invoice_until(acme, at - DAY)
    report(at, an_event(timestamp=at - 2 * DAY), an_event("e2", customer="nobody"))
    late, unknown = groups().order_by("reason")
    client = client_of(maker)

    refused = send(client, action_url(unknown, "dismiss_group"), reason="no")
    done = send(client, action_url(late, "replay_group"))

    assert (late.reason, late.role) == ("period_closed", "finance_maker")
    assert refused.status_code == 422
    assert "Finance decides on events of closed periods" in refused.content.decode()
    assert told(done) == "success: 1 of 1 replayed or closed."
    assert MeterEvent.objects.get().identifier == "e1"
    assert QuarantinedEvent.objects.get(identifier="e2").state == "open"
