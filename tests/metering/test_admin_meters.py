"""What engineering does to meters in the back office."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse

from billing_project.kernel.models import AuditEntry, User
from metering.models import Meter, MeterVersion
from metering.services.aggregate import aggregate_batches
from metering.services.meters import create_meter_version
from tests.console.backoffice import (
    action_url,
    client_of,
    list_of,
    looked_at,
    page_of,
    send,
    told,
)
from tests.metering.builders import EVENT_NAME, a_customer, a_meter, an_event
from tests.metering.builders import send as send_events

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def meter(settings: Any, at: datetime) -> Meter:
    settings.BILLING_CLOCK = at.isoformat()
    return a_meter(at)


def _said(**changes: str) -> dict[str, str]:
    return {
        "effective_at_0": "2026-11-21", "effective_at_1": "14:00:00", "event_name": EVENT_NAME,
        "value_property": "seats", "constant_value": "", "dimensions": "model, region",
        "filters": '[{"property": "tier", "operator": "exists"}]', "rounding_mode": "up",
        "rounding_decimals": "2", "reason": "seats are sent now", "confirmed": "on",
        "seen_from_0": "2026-11-20", "seen_from_1": "00:00:00", "seen_until_0": "2026-11-20",
        "seen_until_1": "12:00:00", **changes,
    }  # fmt: skip


def test_a_meter_gets_a_version_once_its_difference_was_seen(meter: Meter, engineer: User) -> None:
    client, url = client_of(engineer), action_url(meter, "new_version")

    blank = client.get(url).content.decode()
    shown = send(client, url, **_said(confirmed="")).content.decode()
    assert "Difference(" not in shown
    assert MeterVersion.objects.count() == 1
    done = send(client, url, **_said())

    assert 'value="tokens"' in blank
    assert "bo-changed" in shown
    assert "exists tier" in shown
    assert "This is a preview: nothing is changed yet." in shown
    assert "Nothing was done yet" not in shown
    assert told(done) == "success: Version 2 takes effect at 2026-11-21 14:00:00."
    version = MeterVersion.objects.get(number=2)
    assert (version.created_by, version.reason) == (engineer, "seats are sent now")
    assert (version.value_property, version.dimensions) == ("seats", ["model", "region"])
    assert (version.rounding_mode, version.rounding_decimals) == ("up", 2)


def test_only_the_version_that_was_shown_is_confirmed(meter: Meter, engineer: User) -> None:
    client, url = client_of(engineer), action_url(meter, "new_version")
    seen = looked_at(client, url, {**_blank(client, url), **_said()})

    other = client.post(url, {**seen, "value_property": "chairs"})
    unseen = client.post(url, {**seen, "seal": ""})
    count = MeterVersion.objects.count()
    client.post(url, seen)

    assert "What you confirmed is not what was shown before" in other.content.decode()
    assert (other.status_code, unseen.status_code, count) == (422, 422, 1)
    assert MeterVersion.objects.get(number=2).value_property == "seats"


def _blank(client: Any, url: str) -> dict[str, str]:
    return {"nonce": client.get(url).context["form"]["nonce"].value()}


def test_a_version_shows_its_effect_on_usage(meter: Meter, engineer: User, at: datetime) -> None:
    a_customer(at, "acme"), a_customer(at, "other")
    moment = at - timedelta(hours=2)
    properties = {"tokens": "1234.5", "seats": "3", "tier": "paid"}
    send_events(at, *(
        an_event(f"{name}{i}", customer=name, timestamp=moment, properties=properties)
        for name, count in (("acme", 2), ("other", 1)) for i in range(count)
    ))  # fmt: skip
    send_events(at, an_event("bare", timestamp=moment, properties={"tokens": "1", "tier": "paid"}))
    aggregate_batches(at=at)
    client, url = client_of(engineer), action_url(meter, "new_version")

    page = send(client, url, **_said(confirmed="")).content.decode()
    refused = send(client, url, **_said(confirmed="", seen_until_1="13:00:00")).content.decode()
    backwards = send(client, url, **_said(confirmed="", seen_until_0="2026-11-19"))

    text = " ".join(re.sub("<[^>]+>", " ", page).split())
    assert "Of 4 events, 3 count in both, 0 would be gained and 1 lost" in text
    assert "1 event lacks the value" in text
    assert "acme 2,470 6 -2,464 token other 1,234.5 3 -1,231.5 token" in text
    assert "All customers 3,704.5 9 -3,695.5 token" in text
    assert "was not read: end is at most 2026-11-20 12:00" in refused
    assert "This comes after the start." in backwards.content.decode()
    assert MeterVersion.objects.count() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"value_property": ""}, {"constant_value": "1"}, {"reason": ""}, {"filters": "{"},
        {"filters": '{"property": "x"}'}, {"filters": '["x"]'}, {"rounding_decimals": "13"},
        {"effective_at_1": "14:30:00"}, {"effective_at_0": "2026-11-20", "effective_at_1": "12:00"},
        {"dimensions": ",".join("abcdefghijk")},
    ],
)  # fmt: skip
def test_a_senseless_version_keeps_the_form(
    meter: Meter, engineer: User, changes: dict[str, str]
) -> None:
    response = send(client_of(engineer), action_url(meter, "new_version"), **_said(**changes))

    assert response.status_code == 422
    assert response.context["form"].errors
    assert MeterVersion.objects.count() == 1


def test_a_version_is_withdrawn_before_it_takes_effect(
    meter: Meter, engineer: User, at: datetime, settings: Any
) -> None:
    version = create_meter_version(
        meter=meter, effective_at=at + timedelta(hours=2), event_name=EVENT_NAME,
        value_property="seats", reason="x", by=engineer, at=at,
    )  # fmt: skip
    client, url = client_of(engineer), action_url(version, "withdraw")

    assert "Withdraw" in client.get(page_of(version)).content.decode()
    assert told(send(client, url, reason="a mistake")) == "success: Withdrew version 2."
    page = client.get(page_of(version)).content.decode()
    assert "a mistake" in page
    assert "bo-changed" in page
    assert url not in page


def test_a_version_in_effect_is_not_withdrawn(
    meter: Meter, engineer: User, at: datetime, settings: Any
) -> None:
    version = create_meter_version(
        meter=meter, effective_at=at + timedelta(hours=2), event_name=EVENT_NAME,
        value_property="seats", reason="x", by=engineer, at=at,
    )  # fmt: skip
    settings.BILLING_CLOCK = (at + timedelta(hours=2)).isoformat()

    response = send(client_of(engineer), action_url(version, "withdraw"), reason="x")

    assert response.status_code in {403, 422}
    version.refresh_from_db()
    assert version.withdrawn_at is None


def test_a_meters_page_lists_who_changed_it_and_why(
    meter: Meter, engineer: User, auditor: User, at: datetime
) -> None:
    create_meter_version(
        meter=meter, effective_at=at + timedelta(hours=2), event_name="other",
        value_property="seats", reason="renamed by the app", by=engineer, at=at,
    )  # fmt: skip
    client = client_of(auditor)

    page = client.get(page_of(meter)).content.decode()
    listed = client.get(list_of(Meter)).content.decode()

    assert "renamed by the app" in page
    assert "eli.engineer" in page
    assert action_url(meter, "new_version") not in page  # An auditor only reads.
    assert "1, next waits" in listed


_MADE = {
    "code": "seats", "name": "Seats", "aggregation": "sum", "unit": "seat", "event_name": "seat",
    "value_property": "held", "constant_value": "", "filters": "", "dimensions": "plan, region",
    "rounding_mode": "half_even", "rounding_decimals": "12", "reason": "we sell seats now",
}  # fmt: skip


def test_a_meter_is_made_above_the_list(engineer: User, at: datetime) -> None:
    client, url = client_of(engineer), reverse("admin:metering_meter_new_meter")

    assert url in client.get(list_of(Meter)).content.decode()
    blank = client.get(url).content.decode()
    done = send(client, url, **_MADE)

    assert 'value="12"' in blank
    made = Meter.objects.get(code="seats")
    assert (done.status_code, done.headers["Location"]) == (302, page_of(made))
    assert told(done) == "success: Meter seats counts seat from now on."
    assert (made.aggregation, made.unit, made.created_at) == ("sum", "seat", at)
    version = made.versions.get()
    assert (version.dimensions, version.created_by) == (["plan", "region"], engineer)
    assert AuditEntry.objects.filter(action="create_meter").latest("pk").by == engineer


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"code": "Seats!"}, "code"), ({"code": "tokens_sum"}, "code"), ({"unit": ""}, "unit"),
        ({"aggregation": "median"}, "aggregation"), ({"value_property": ""}, "value_property"),
        ({"aggregation": "count", "value_property": "held"}, "value_property"),
        ({"aggregation": "count", "value_property": "", "constant_value": "1"}, "constant_value"),
        ({"aggregation": "unique"}, None), ({"filters": '["x"]'}, "filters"),
        ({"dimensions": ",".join("abcdefghijk")}, "dimensions"), ({"reason": ""}, "reason"),
    ],
)  # fmt: skip
def test_a_meter_that_cannot_be_is_told_beside_its_field(
    engineer: User, changes: dict[str, str], field: str | None
) -> None:
    url = reverse("admin:metering_meter_new_meter")

    response = send(client_of(engineer), url, **{**_MADE, **changes})

    made = Meter.objects.exclude(code="tokens_sum").count()
    if field is None:
        assert (response.status_code, made) == (302, 1)
    else:
        assert (response.status_code, made) == (422, 0)
        assert list(response.context["form"].errors) == [field]
