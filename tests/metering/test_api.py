"""Metering over HTTP: what callers send, and every way in which it can be wrong."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from billing_project.kernel.keys import create_api_key
from metering.models import (
    Customer,
    EventRejection,
    MeterEvent,
    MeterVersion,
    QuarantinedEvent,
    UsageWindow,
    Workspace,
)
from metering.services.aggregate import aggregate_batches
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db
_EVENT = {
    "event_name": "llm_request",
    "identifier": "e1",
    "customer": "acme",
    "properties": {"model": "haiku", "tokens": "100"},
}


class Caller:
    """A client with a key."""

    def __init__(self, *scopes: str) -> None:
        _, token = create_api_key(name="app", scopes=scopes, at=datetime(2026, 1, 1, tzinfo=UTC))
        self.client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {token}"}

    def post(self, path: str, content: object, **headers: str) -> Any:
        """Send JSON, or bytes as they are."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.client.post(
            f"/v1/{path}", body, content_type="application/json",
            headers={**self.headers, **headers},
        )  # fmt: skip

    def get(self, path: str, **query: str) -> Any:
        """Ask."""
        return self.client.get(f"/v1/{path}", query, headers=self.headers)

    def patch(self, path: str, content: object) -> Any:
        """Change."""
        return self.client.patch(
            f"/v1/{path}", json.dumps(content), content_type="application/json",
            headers=self.headers,
        )  # fmt: skip


@pytest.fixture(autouse=True)
def _clock(settings: Any, at: datetime) -> None:
    settings.BILLING_CLOCK = at.isoformat()


@pytest.fixture
def caller(at: datetime, db: None) -> Caller:
    """Return a caller that may do everything; acme and its meter exist."""
    a_customer(at)
    a_meter(at)
    return Caller("admin")


def _problem(response: HttpResponse, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    content: dict[str, Any] = json.loads(response.content)
    assert content["code"] == code
    return content


def test_a_single_event_is_accepted_then_a_duplicate_then_a_conflict(caller: Caller) -> None:
    accepted, duplicate = caller.post("events", _EVENT), caller.post("events", _EVENT)
    conflict = caller.post("events", {**_EVENT, "properties": {"tokens": "1"}})

    assert (accepted.status_code, accepted.json()["status"]) == (200, "accepted")
    assert (duplicate.status_code, duplicate.json()["status"]) == (200, "duplicate")
    _problem(conflict, 409, "identifier_conflict")


def test_a_single_quarantined_event_is_a_success(caller: Caller) -> None:
    response = caller.post("events", {**_EVENT, "customer": "nobody"})

    assert response.status_code == 200
    assert (response.json()["status"], response.json()["code"]) == (
        "quarantined", "unknown_customer",
    )  # fmt: skip


def test_a_batch_is_answered_item_by_item(caller: Caller) -> None:
    items: list[Any] = [
        _EVENT,
        _EVENT,
        {**_EVENT, "identifier": "e2", "customer": "nobody"},
        {**_EVENT, "identifier": "e 3"},
        {**_EVENT, "identifier": "e4", "timestamp": "2020-01-01T00:00:00Z"},
        {**_EVENT, "properties": {"tokens": "1"}},
        7,
    ]

    content = caller.post("events", {"events": items}).json()

    results = [(one["index"], one["status"], one["code"]) for one in content.pop("results")]
    assert content == {
        "accepted": 1, "duplicates": 1, "conflicts": 1, "quarantined": 1, "rejected": 3,
    }  # fmt: skip
    assert results == [
        (1, "duplicate", "duplicate"),
        (2, "quarantined", "unknown_customer"),
        (3, "rejected", "invalid_value"),
        (4, "rejected", "timestamp_too_far_in_past"),
        (5, "conflict", "identifier_conflict"),
        (6, "rejected", "invalid_value"),
    ]
    assert MeterEvent.objects.count() == QuarantinedEvent.objects.count() - 1 == 1
    assert EventRejection.objects.get(code="invalid_value").count == 2


@pytest.mark.parametrize(
    "literal",
    ["1e400", "-1e400", "-1", '"-1"', "1" * 60, '"' + "1" * 60 + '"', "NaN", '"NaN"', "Infinity",
     '"\uff11\uff12"', '"1e5"', "[1]", '"\\u0000"', '"\\ud83d"', "0." + "1" * 13, "9" * 5000],
)  # fmt: skip
def test_number_traps_are_422_and_store_nothing(caller: Caller, literal: str) -> None:
    body = json.dumps(_EVENT).encode().replace(b'"100"', literal.encode())

    _problem(caller.post("events", body), 422, "invalid_value")
    assert not MeterEvent.objects.exists()
    assert not QuarantinedEvent.objects.exists()


@pytest.mark.parametrize("literal", ['"-0"', "-0", "0", "-0.0", '"0.000000000001"', "1e3", "1.50"])
def test_odd_but_plain_numbers_are_counted_exactly(caller: Caller, literal: str) -> None:
    body = json.dumps(_EVENT).encode().replace(b'"100"', literal.encode())

    assert caller.post("events", body).json()["status"] == "accepted"
    aggregate_batches(at=datetime(2026, 11, 20, 13, tzinfo=UTC))
    assert UsageWindow.objects.get().quantity == abs(Decimal(literal.strip('"')))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_body"),
        (b"{", 400, "malformed_body"),
        (b"[]", 400, "malformed_body"),
        (b'{"event_name": "x", ', 400, "malformed_body"),
        (b"\xff\xfe\x00", 400, "malformed_body"),
        (b'{"events": [' + b"[" * 200_000 + b"]" * 200_000 + b"]}", 400, "too_deep"),
        (b'{"customer": ' + b"[" * 200_000, 422, "invalid_value"),
        (b'{"events": []}', 422, "invalid_value"),
        (b'{"events": [' + b",".join([b"1"] * 1001) + b"]}", 422, "invalid_value"),
        (b'{"events": [], "customer": "acme"}', 422, "invalid_value"),
        (b'{"identifier": "e1", "identifier": "e2"}', 422, "invalid_value"),
        (b" " * (5 * 1024 * 1024 + 1), 413, "body_too_large"),
    ],
    ids=range(12),
)
def test_hostile_bodies_are_problems(caller: Caller, body: bytes, status: int, code: str) -> None:
    _problem(caller.post("events", body), status, code)


def test_a_gzip_body_is_read_and_a_bomb_is_not(caller: Caller) -> None:
    packed = gzip.compress(json.dumps(_EVENT).encode())
    bomb = gzip.compress(b" " * 50_000_000)

    assert caller.post("events", packed, **{"Content-Encoding": "gzip"}).status_code == 200
    _problem(caller.post("events", bomb, **{"Content-Encoding": "gzip"}), 413, "body_too_large")


def test_scopes_are_asked_for(caller: Caller) -> None:
    writer = Caller("events:write")

    assert writer.post("events", _EVENT).status_code == 200
    _problem(writer.get("events", customer="acme"), 403, "insufficient_scope")
    _problem(Caller("usage:read").post("events", _EVENT), 403, "insufficient_scope")
    assert Client().post("/v1/events", _EVENT, content_type="application/json").status_code == 401


def test_stored_events_are_listed(caller: Caller) -> None:
    caller.post("events", {**_EVENT, "workspace": "prod"})
    caller.post("events", {**_EVENT, "identifier": "e2"})

    page = caller.get("events", customer="acme", event_name="llm_request", limit="1").json()
    rest = caller.get("events", customer="acme", cursor=page["next_cursor"]).json()

    assert [row["identifier"] for row in page["data"] + rest["data"]] == ["e2", "e1"]
    assert rest["data"][0]["workspace"] == "prod"
    assert rest["next_cursor"] is None


def test_customers_are_made_shown_and_changed() -> None:
    caller = Caller("admin")
    content = {"external_id": "bolt", "name": "Bolt", "currency": "EUR", "country": "DE"}

    made, again = caller.post("customers", content), caller.post("customers", content)
    other = caller.post("customers", {**content, "currency": "USD"})
    changed = caller.patch("customers/bolt", {"time_zone": "Europe/Berlin", "reason": "moved"})

    assert (made.status_code, again.json()) == (201, made.json())
    _problem(other, 409, "conflict")
    assert changed.json()["time_zone"] == "Europe/Berlin"
    shown = caller.get("customers/bolt").json()
    assert shown == {**changed.json(), "owed_back": []}
    assert [row["external_id"] for row in caller.get("customers").json()["data"]] == ["bolt"]
    assert Customer.history.first().history_change_reason == "moved"
    _problem(caller.get("customers/nobody"), 404, "unknown_customer")


@pytest.mark.parametrize(
    "changes",
    [
        {"currency": "XXZ"}, {"time_zone": "Mars/Base"}, {"country": "Germany"},
        {"external_id": "a b"}, {"name": ""}, {"name": "a\x00b"}, {"colour": "red"},
    ],
)  # fmt: skip
def test_a_senseless_customer_is_refused(changes: dict[str, str]) -> None:
    content = {"external_id": "bolt", "name": "Bolt", "currency": "EUR", **changes}

    _problem(Caller("admin").post("customers", content), 422, "invalid_value")
    assert not Customer.objects.exists()


def test_workspaces_are_made_and_named(caller: Caller) -> None:
    caller.post("events", {**_EVENT, "workspace": "prod"})

    made = caller.post(
        "workspaces", {"customer": "acme", "external_id": "prod", "name": "Production"}
    )

    assert (made.status_code, made.json()["name"]) == (201, "Production")
    assert Workspace.objects.get().name == "Production"
    assert len(caller.get("workspaces").json()["data"]) == 1


def test_meters_are_made_and_listed(caller: Caller) -> None:
    content = {
        "code": "images", "event_name": "image", "aggregation": "sum", "value_property": "count",
        "filters": [{"property": "kind", "operator": "in", "value": ["a", 1, True]}],
        "dimensions": ["model"], "unit": "image",
    }  # fmt: skip

    made = caller.post("meters", content)

    assert made.status_code == 201, made.content
    assert made.json()["filters"][0]["value"] == ["a", "1", "true"]
    codes = [row["code"] for row in caller.get("meters").json()["data"]]
    assert codes == ["images", "tokens_sum"]
    _problem(caller.post("meters", {**content, "unit": "other"}), 409, "conflict")
    _problem(caller.post("meters", {**content, "code": "x", "filters": [{}]}), 422, "invalid_value")


def test_a_meter_says_what_an_event_counts(caller: Caller) -> None:
    content = {
        "code": "calls", "event_name": "call", "aggregation": "sum", "constant_value": "0.50",
        "filters": [{"property": "kind", "operator": "exists"}], "unit": "call",
        "rounding_mode": "up", "rounding_decimals": 1,
    }  # fmt: skip

    made = caller.post("meters", content)

    assert made.status_code == 201, made.content
    assert made.json()["constant_value"] == "0.5"
    assert (made.json()["rounding_mode"], made.json()["rounding_decimals"]) == ("up", 1)
    assert made.json()["filters"] == [{"property": "kind", "operator": "exists"}]
    assert made.json()["version"] == 1
    for changes in ({"value_property": "x"}, {"constant_value": None}, {"rounding_decimals": 13}):
        answer = caller.post("meters", {**content, "code": "x", **changes})
        assert answer.status_code == 422, answer.content


def test_a_version_is_previewed(caller: Caller, at: datetime) -> None:
    moment = at - timedelta(hours=3)
    properties = {"model": "haiku", "tokens": "10", "seats": "0.5"}
    send(at, an_event("e1", timestamp=moment, properties=properties))
    aggregate_batches(at=at)
    span = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-20T12:00:00Z"}
    content = {"event_name": "llm_request", "value_property": "seats", "dimensions": [], **span}
    url = "meters/tokens_sum/versions/preview"

    effect = caller.post(url, content).json()

    ten = {"quantity": "10", "key_count": 1, "event_count": 1}
    half = {"quantity": "0.5", "key_count": 1, "event_count": 1}
    shown = {"before": ten, "after": half, "difference": "-9.5"}
    assert effect == {
        **span, "unit": "token", "event_count": 1, "kept": 1, "gained": 0, "lost": 0,
        "unreadable": 0, **shown, "customers": [{"customer": "acme", **shown}],
        "customer_count": 1,
    }  # fmt: skip
    assert MeterVersion.objects.count() == 1
    for bad in ({"end": None}, {"end": span["start"]}, {"end": "2026-11-20T13:00:00Z"}):
        _problem(caller.post(url, {**content, **bad}), 422, "invalid_value")
    _problem(caller.post("meters/none/versions/preview", content), 404, "not_found")


def test_a_meter_gets_versions(caller: Caller) -> None:
    content = {
        "event_name": "llm_request", "value_property": "seats", "dimensions": ["model"],
        "effective_at": "2026-11-20T14:00:00Z", "reason": "seats now",
    }  # fmt: skip

    made = caller.post("meters/tokens_sum/versions", content)
    again = caller.post("meters/tokens_sum/versions", content)
    withdrawn = caller.post("meters/tokens_sum/versions/2/withdraw", {"reason": "a mistake"})

    assert made.status_code == 201, made.content
    assert made.json() == again.json()
    assert (made.json()["number"], made.json()["effective_at"]) == (2, content["effective_at"])
    assert withdrawn.json()["withdrawal_reason"] == "a mistake"
    listed = caller.get("meters/tokens_sum/versions").json()["data"]
    assert [(row["number"], row["withdrawn_at"] is None) for row in listed] == [
        (2, False), (1, True),
    ]  # fmt: skip
    assert listed[0]["created_by"] == listed[0]["withdrawn_by"]


def test_a_bad_version_is_refused(caller: Caller) -> None:
    reason = {"reason": "x"}

    assert caller.post("meters/tokens_sum/versions", {}).status_code == 422
    _problem(caller.get("meters/none/versions"), 404, "not_found")
    _problem(caller.post("meters/tokens_sum/versions/9/withdraw", reason), 404, "not_found")
    _problem(caller.post("meters/tokens_sum/versions/1/withdraw", reason), 409, "conflict")


def test_usage_names_its_time_zone(caller: Caller) -> None:
    asked = {
        "customer": "acme", "meter": "tokens_sum", "granularity": "day",
        "start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z",
    }  # fmt: skip

    assert caller.get("usage", **asked).json()["time_zone"] == "UTC"
    berlin = caller.get("usage", **asked, time_zone="Europe/Berlin").json()
    assert berlin["time_zone"] == "Europe/Berlin"
    assert caller.get("usage", **asked, time_zone="Mars/Base").status_code == 422


def test_an_event_is_amended_and_cancelled(caller: Caller) -> None:
    caller.post("events", _EVENT)
    named = {"customer": "acme", "identifier": "e1", "reason": "test"}

    amended = caller.post(
        "event_adjustments", {**named, "type": "amend", "properties": {"tokens": 1.5}}
    )
    cancelled = caller.post("event_adjustments", {**named, "type": "cancel"})
    late = caller.post("event_adjustments", {**named, "type": "amend", "properties": {"tokens": 1}})

    assert (amended.status_code, cancelled.status_code) == (201, 201), amended.content
    _problem(late, 409, "conflict")
    _problem(caller.post("event_adjustments", {**named, "type": "amend"}), 422, "invalid_value")
    _problem(
        caller.post("event_adjustments", {**named, "identifier": "e9", "type": "cancel"}),
        404, "not_found",
    )  # fmt: skip


def test_quarantine_is_listed_and_replayed(caller: Caller, at: datetime) -> None:
    caller.post("events", {**_EVENT, "customer": "bolt"})
    listed = caller.get("quarantine", reason="unknown_customer").json()["data"]
    a_customer(at, "bolt")

    result = caller.post("quarantine/replay", {"ids": [listed[0]["id"]]}).json()

    assert (listed[0]["customer"], listed[0]["state"]) == ("bolt", "open")
    assert result == {
        "tried": 1, "replayed": 1, "still_open": 0,
        "duplicates": 0, "conflicts": 0, "superseded": 0,
        "left": 0, "last_id": listed[0]["id"],
    }  # fmt: skip
    assert caller.get("quarantine").json()["data"] == []
    assert len(caller.get("quarantine", state="replayed").json()["data"]) == 1


def test_usage_says_what_it_includes(caller: Caller, at: datetime) -> None:
    send(at, an_event("a", workspace="prod"), an_event("b", properties={"tokens": "0.5"}))
    aggregate_batches(at=at)

    content = caller.get(
        "usage", customer="acme", meter="tokens_sum", start="2026-11-01T00:00:00Z",
        end="2026-12-01T00:00:00Z", granularity="day", group_by="model,workspace",
    ).json()  # fmt: skip

    assert content["data"] == [
        {"start_at": "2026-11-20T00:00:00Z", "group": {"model": "haiku", "workspace": "prod"},
         "quantity": "100"},
        {"start_at": "2026-11-20T00:00:00Z", "group": {"model": None, "workspace": None},
         "quantity": "0.5"},
    ]  # fmt: skip
    assert (content["as_of"], content["lag_seconds"]) == ("2026-11-20T12:00:00Z", "0")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"start": "2026-11-01T00:30:00Z"}, 422),
        ({"end": "2026-10-01T00:00:00Z"}, 422),
        ({"group_by": "colour"}, 422),
        ({"granularity": "year"}, 422),
        ({"meter": "none"}, 404),
        ({"customer": "nobody"}, 404),
        ({"meter": "a\x00b"}, 422),
    ],
)
def test_a_senseless_question_is_refused(
    caller: Caller, changes: dict[str, str], status: int
) -> None:
    query = {
        "customer": "acme", "meter": "tokens_sum", "start": "2026-11-01T00:00:00Z",
        "end": "2026-12-01T00:00:00Z", **changes,
    }  # fmt: skip

    assert caller.get("usage", **query).status_code == status
