"""What engineering and support do to events in the back office."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing_project.kernel.models import User
from metering.models import (
    Customer,
    CustomerAlias,
    EventIdentity,
    MeterEvent,
    MeterEventAdjustment,
    QuarantinedEvent,
    UsageWindow,
)
from metering.services.adjust import amend_event
from metering.services.aggregate import aggregate_batches
from metering.services.customers import add_alias
from tests.console.backoffice import action_url, client_of, list_of, page_of, send, told
from tests.metering.builders import a_customer, a_meter, an_event
from tests.metering.builders import send as report

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def acme(settings: Any, at: datetime) -> Customer:
    settings.BILLING_CLOCK = at.isoformat()
    a_meter(at)
    return a_customer(at)


def test_a_cancelled_event_counts_no_longer(engineer: User, at: datetime) -> None:
    report(at, an_event("e1"), an_event("e2"))
    aggregate_batches(at=at)
    event = MeterEvent.objects.get(identifier="e1")

    response = send(client_of(engineer), action_url(event, "cancel"), reason="sent by a test")
    aggregate_batches(at=at)

    assert told(response) == "success: Cancelled e1."
    assert UsageWindow.objects.get().quantity == 100
    page = client_of(engineer).get(page_of(event)).content.decode()
    assert "2026-11-20, eli.engineer: sent by a test" in page
    assert action_url(event, "cancel") not in page
    assert action_url(event, "amend") not in page


def test_an_event_is_cancelled_once(engineer: User, at: datetime) -> None:
    report(at, an_event("e1"))
    event = MeterEvent.objects.get()
    client, url = client_of(engineer), action_url(MeterEvent.objects.get(), "cancel")

    first, second = (send(client, url, reason="sent by a test") for _ in range(2))

    assert first.status_code == 302
    assert second.status_code in {302, 422}
    assert MeterEvent.objects.count() == 1
    assert event.pk == EventIdentity.objects.get().event_id


def test_an_event_is_amended_from_what_it_says(engineer: User, at: datetime) -> None:
    report(at, an_event("e1"))
    aggregate_batches(at=at)
    event = MeterEvent.objects.get()
    client, url = client_of(engineer), action_url(event, "amend")

    asked = client.get(url).content.decode()
    response = send(
        client, url, properties='{"model": "haiku", "tokens": 12.50}', reason="counted wrong"
    )

    assert "&quot;tokens&quot;: &quot;100&quot;" in asked
    assert told(response) == "success: Amended e1."
    assert UsageWindow.objects.get().quantity == Decimal("12.5")
    assert "&quot;tokens&quot;: 12.50" in client.get(url).content.decode()


@pytest.mark.parametrize(
    "properties",
    [
        "",
        "{",
        "[" * 5000,
        "[1]",
        '{"model": "haiku", "tokens": "100"}',
        '{"model": "haiku"}',
        '{"model": "haiku", "tokens": NaN}',
        '{"model": "haiku", "tokens": {"a": 1}}',
        '{"model": "haiku", "tokens": 1e99999999999999999999}',
        '{"model": "\\u0000", "tokens": 5}',
        '{"model": "\\ud800", "tokens": 5}',
        '{"model": "haiku", "tokens": "5", "tokens": "50000"}',
    ],
)
def test_an_event_is_not_amended_to_what_cannot_count(
    engineer: User, at: datetime, properties: str
) -> None:
    report(at, an_event("e1"))
    url = action_url(MeterEvent.objects.get(), "amend")

    response = send(client_of(engineer), url, properties=properties, reason="counted wrong")

    assert response.status_code == 422
    assert not MeterEventAdjustment.objects.exists()


def test_an_amendment_of_somebody_else_meanwhile_is_not_lost(
    engineer: User, acme: Customer, at: datetime
) -> None:
    report(at, an_event("e1"))
    client, url = client_of(engineer), action_url(MeterEvent.objects.get(), "amend")
    nonce = client.get(url).context["form"]["nonce"].value()
    amend_event(
        customer=acme, identifier="e1", properties={"model": "haiku", "tokens": "5"},
        reason="too many", by=engineer, at=at,
    )  # fmt: skip

    sent = {"nonce": nonce, "based_on": "0", "reason": "another model"}
    response = client.post(url, {**sent, "properties": '{"model": "opus", "tokens": "100"}'})

    assert "adjusted meanwhile" in told(response)
    assert MeterEventAdjustment.objects.count() == 1


def test_a_mapped_event_is_replayed(support: User, acme: Customer, at: datetime) -> None:
    report(at, an_event("e1", customer="nobody"), an_event("e2", customer="nobody"))
    add_alias(external_id="nobody", customer=acme, reason="renamed", by=support, at=at)
    waiting = QuarantinedEvent.objects.get(identifier="e1")

    response = send(client_of(support), action_url(waiting, "replay"), scope="one")

    assert told(response).startswith("success: Replayed 1.")
    assert list(MeterEvent.objects.values_list("identifier", flat=True)) == ["e1"]


@pytest.mark.parametrize("scope", ["customer", "reason"])
def test_all_that_waits_is_replayed_together(
    support: User, acme: Customer, at: datetime, scope: str
) -> None:
    report(at, an_event("e1", customer="nobody"), an_event("e2", customer="nobody"))
    add_alias(external_id="nobody", customer=acme, reason="renamed", by=support, at=at)
    waiting = QuarantinedEvent.objects.get(identifier="e1")

    send(client_of(support), action_url(waiting, "replay"), scope=scope)

    assert MeterEvent.objects.count() == 2


def test_an_unknown_id_is_mapped_and_all_that_waits_under_it_is_replayed(
    support: User, acme: Customer, at: datetime
) -> None:
    report(at, an_event("e1", customer="nobody"), an_event("e2", customer="nobody"))
    report(at, an_event("e3", customer="somebody"))
    waiting = QuarantinedEvent.objects.get(identifier="e1")
    client, url = client_of(support), action_url(waiting, "map_customer")

    response = send(client, url, customer="acme", reason="renamed")

    assert told(response).startswith("success: nobody names acme now. Replayed 2.")
    assert set(MeterEvent.objects.values_list("identifier", flat=True)) == {"e1", "e2"}
    alias = CustomerAlias.objects.get()
    assert (alias.external_id, alias.customer, alias.created_by) == ("nobody", acme, support)
    assert url not in client.get(page_of(waiting)).content.decode()


@pytest.mark.parametrize("customer", ["none", "", "\x00", "Acme"])
def test_an_id_is_mapped_to_a_customer_that_exists(
    support: User, at: datetime, customer: str
) -> None:
    report(at, an_event("e1", customer="nobody"))
    url = action_url(QuarantinedEvent.objects.get(), "map_customer")

    response = send(client_of(support), url, customer=customer, reason="renamed")

    assert response.status_code == 422
    assert not CustomerAlias.objects.exists()
    assert not MeterEvent.objects.exists()


def test_what_waits_for_another_reason_is_not_mapped(support: User, at: datetime) -> None:
    report(at, an_event("e1", event_name="unheard_of"))
    waiting = QuarantinedEvent.objects.get()

    page = client_of(support).get(page_of(waiting)).content.decode()

    assert action_url(waiting, "map_customer") not in page
    assert action_url(waiting, "replay") in page
    assert "Unknown event name" in page


def test_a_dismissed_event_is_kept_and_offers_nothing_more(support: User, at: datetime) -> None:
    report(at, an_event("e1", customer="nobody"))
    waiting = QuarantinedEvent.objects.get()
    client = client_of(support)

    send(client, action_url(waiting, "dismiss"), reason="a test of theirs")

    waiting.refresh_from_db()
    assert (waiting.state, waiting.resolution) == ("dismissed", "a test of theirs")
    page = client.get(page_of(waiting)).content.decode()
    assert action_url(waiting, "replay") not in page
    assert action_url(waiting, "dismiss") not in page


def test_events_are_found_by_identifier_over_all_customers(auditor: User, at: datetime) -> None:
    a_customer(at, "beta")
    report(at, an_event("e1"), an_event("e1", customer="beta"), an_event("e11"))
    client = client_of(auditor)

    found = client.get(f"{list_of(MeterEvent)}?q=e1").context["cl"].result_list
    none = client.get(f"{list_of(MeterEvent)}?q=e").context["cl"].result_list

    assert sorted(event.customer.external_id for event in found) == ["acme", "beta"]
    assert list(none) == []


def test_events_are_never_counted_for_a_list(auditor: User, at: datetime) -> None:
    report(at, an_event("e1"))
    client = client_of(auditor)
    client.get(list_of(MeterEvent))

    with CaptureQueriesContext(connection) as captured:
        client.get(list_of(MeterEvent))

    counts = [q["sql"] for q in captured.captured_queries if "COUNT(" in q["sql"]]
    assert counts == []


def test_a_window_leads_to_the_events_of_its_hour(auditor: User, at: datetime) -> None:
    hour = at.replace(minute=0)
    report(at, an_event("e1", timestamp=hour), an_event("e2", timestamp=hour - timedelta(hours=1)))
    aggregate_batches(at=at)
    window = UsageWindow.objects.get(start_at=hour)
    client = client_of(auditor)

    page = client.get(page_of(window))
    (link,) = [x for x in page.context["related_links"] if x.title == "Events of this hour"]
    events = client.get(link.url).context["cl"].result_list

    assert [event.identifier for event in events] == ["e1"]
