"""The quarantine over HTTP: read by cause, mended, replayed, dismissed."""

from datetime import datetime

import pytest

from metering.models import Customer, CustomerAlias, Meter, MeterEvent, QuarantinedEvent
from metering.services import quarantine
from tests.metering.builders import a_customer, a_meter, an_event, send
from tests.metering.test_api import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller("events:write", "usage:read", "admin")


@pytest.fixture(autouse=True)
def acme(at: datetime, db: None) -> Customer:
    a_meter(at)
    return a_customer(at)


def test_rows_are_filtered(caller: Caller, at: datetime) -> None:
    send(at, an_event("a", customer="nobody"), an_event("b", event_name="image"))

    by_name = caller.get("quarantine", event_name="image").json()["data"]
    by_customer = caller.get("quarantine", customer="nobody").json()["data"]
    closed = caller.get("quarantine", state="amended").json()["data"]

    assert [row["identifier"] for row in by_name] == ["b"]
    assert [row["identifier"] for row in by_customer] == ["a"]
    assert closed == []


def test_groups_name_cause_owner_count_and_sample(caller: Caller, at: datetime) -> None:
    send(at, *(an_event(i, customer="nobody") for i in "ab"), an_event("c", event_name="image"))

    answer = caller.get("quarantine/groups").json()
    of_support = caller.get("quarantine/groups", owner="support").json()["data"]

    nobody, image = answer["data"]
    assert nobody == {
        "reason": "unknown_customer",
        "missing": "nobody",
        "owner": "support",
        "person": None,
        "events": 2,
        "customers": 1,
        "event_names": 1,
        "first_seen_at": "2026-11-20T12:00:00Z",
        "last_seen_at": "2026-11-20T12:00:00Z",
        "sample": {
            "customer": "nobody",
            "event_name": "llm_request",
            "identifier": "b",
            "properties": {"model": "haiku", "tokens": "100"},
            "detail": "no customer or alias is called nobody",
        },
    }
    assert (image["missing"], image["owner"]) == ("image", "engineering")
    assert of_support == [nobody]


def test_a_customer_is_mapped_once_for_one_key(caller: Caller, at: datetime) -> None:
    send(at, *(an_event(i, customer="nobody") for i in "ab"))
    asked = {"external_id": "nobody", "customer": "acme", "note": "renamed"}
    key = {"Idempotency-Key": "map-1"}

    first, again = (caller.post("quarantine/map", asked, **key) for _ in "ab")

    assert first.json() == again.json()
    assert (first.json()["replayed"], first.json()["left"]) == (2, 0)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert CustomerAlias.objects.get().reason == "renamed"
    assert MeterEvent.objects.count() == 2


def test_an_event_name_is_mapped_by_a_meter(caller: Caller, at: datetime) -> None:
    send(at, an_event(event_name="image"))
    meter = {"code": "images", "aggregation": "count", "unit": "image"}

    answer = caller.post(
        "quarantine/map", {"event_name": "image", "meter": meter, "note": "a new product"}
    )

    assert (answer.status_code, answer.json()["replayed"]) == (200, 1)
    assert Meter.objects.get(code="images").versions.get().event_name == "image"


@pytest.mark.parametrize(
    "content",
    [
        {"note": "x"},
        {"external_id": "nobody", "note": "x"},
        {"external_id": "nobody", "customer": "acme", "event_name": "image", "note": "x"},
        {"external_id": "nobody", "customer": "acme"},
        {"event_name": "image", "meter": {"code": "images"}, "note": "x"},
        {"event_name": "image", "meter": {"code": "i", "madness": 1}, "note": "x"},
    ],
)
def test_a_mapping_is_one_whole_thing(caller: Caller, content: object) -> None:
    assert caller.post("quarantine/map", content).status_code == 422


def test_a_long_replay_goes_on_where_it_was(
    caller: Caller, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine.replay_part, "__kwdefaults__", {"after_id": 0, "limit": 2})
    send(at, *(an_event(f"e{i}", customer="nobody") for i in range(3)))

    first = caller.post("quarantine/replay", {"customer": "nobody"}).json()
    asked = {"customer": "nobody", "after": first["last_id"]}
    second = caller.post("quarantine/replay", asked).json()

    assert (first["tried"], first["left"]) == (2, 1)
    assert (second["tried"], second["left"]) == (1, 0)


def test_a_group_is_dismissed_with_a_note(caller: Caller, at: datetime) -> None:
    send(at, *(an_event(i, customer="nobody") for i in "ab"), an_event("c", customer="other"))
    asked = {"reason": "unknown_customer", "missing": "nobody", "note": "a load test"}

    first, second = (caller.post("quarantine/dismiss", asked).json() for _ in "ab")

    assert first == {"dismissed": 2, "left": 0}
    assert second == {"dismissed": 0, "left": 0}
    assert set(QuarantinedEvent.objects.values_list("identifier", "state", "resolution")) == {
        ("a", "dismissed", "a load test"),
        ("b", "dismissed", "a load test"),
        ("c", "open", ""),
    }


def test_nobody_dismisses_everything_by_accident(caller: Caller, at: datetime) -> None:
    send(at, an_event(customer="nobody"))

    answer = caller.post("quarantine/dismiss", {"note": "oops"})

    assert answer.status_code == 422
    assert QuarantinedEvent.objects.get().state == "open"


@pytest.mark.parametrize("asked", [{}, {"after": 0}, {"all": False}, {"all": True, "ids": [1]}])
def test_nobody_replays_everything_by_accident(
    caller: Caller, at: datetime, asked: dict[str, object]
) -> None:
    send(at, an_event())

    answer = caller.post("quarantine/replay", asked)

    assert answer.status_code == 422
    assert "say which rows" in answer.json()["detail"]


def test_everything_is_replayed_by_saying_so(caller: Caller, at: datetime, acme: Customer) -> None:
    send(at, an_event("a", customer="nobody"), an_event("b", customer="other"))

    answer = caller.post("quarantine/replay", {"all": True}).json()

    assert (answer["tried"], answer["still_open"], answer["left"]) == (2, 2, 0)
