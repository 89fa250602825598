"""CloudEvents are read by the examples of their specification, and stored as native events."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.errors import Invalid
from billing_project.kernel.keys import create_api_key
from metering.cloudevents import (
    CLOUD_BATCH,
    CLOUD_EVENT,
    decode_cloud_batch,
    decode_cloud_event,
    identifier_of,
)
from metering.events import BadItem, EventInput, MalformedBody, decode_event
from metering.models import EventIdentity, MeterEvent
from tests.metering.builders import a_customer, a_meter

# The examples of the JSON event format, version 1.0.2 (section 3.2 and 4.3).
_EXTENSIONS = {"comexampleextension1": "value", "comexampleothervalue": 5}
_BINARY = {
    "specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext",
    "id": "A234-1234-1234", "time": "2018-04-05T17:31:00Z", **_EXTENSIONS,
    "datacontenttype": "application/vnd.apache.thrift.binary",
    "data_base64": "... base64 encoded string ...",
}  # fmt: skip
_XML = {
    "specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext",
    "id": "B234-1234-1234", "time": "2018-04-05T17:31:00Z", **_EXTENSIONS, "unsetextension": None,
    "datacontenttype": "application/xml", "data": '<much wow="xml"/>',
}  # fmt: skip
_OBJECT = {
    "specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext", "subject": None,
    "id": "C234-1234-1234", "time": "2018-04-05T17:31:00Z", **_EXTENSIONS,
    "datacontenttype": "application/json",
    "data": {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True},
}  # fmt: skip
_STRING = {
    "specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext", "subject": None,
    "id": "D234-1234-1234", "time": "2018-04-05T17:31:00Z", **_EXTENSIONS,
    "data": "I'm just a string",
}  # fmt: skip
_USAGE = {
    "specversion": "1.0", "type": "llm_request", "source": "/gateway/eu", "id": "req-1",
    "subject": "acme", "time": "2026-11-20T10:00:00Z", "data": {"model": "haiku", "tokens": "100"},
}  # fmt: skip


def _one(event: object) -> EventInput | BadItem:
    return decode_cloud_event(json.dumps(event).encode()).items[0]


def test_the_example_with_json_data_is_an_event_once_it_names_its_subject() -> None:
    assert _one({**_OBJECT, "subject": "acme"}) == EventInput(
        event_name="com.example.someevent",
        identifier="ce10:/mycontext:C234-1234-1234",
        customer="acme",
        timestamp=datetime(2018, 4, 5, 17, 31, tzinfo=UTC),
        properties={"appinfoA": "abc", "appinfoB": 123, "appinfoC": True},
    )


@pytest.mark.parametrize(
    ("example", "path"),
    [(_BINARY, "$.data_base64"), (_XML, "$.datacontenttype"), (_STRING, "$.data")],
)
def test_examples_whose_data_is_no_object_are_refused_by_item(
    example: dict[str, Any], path: str
) -> None:
    item = _one({**example, "subject": "acme"})

    assert isinstance(item, BadItem)
    assert (item.path, item.code) == (path, "invalid_value")
    assert item.identifier == f"ce10:/mycontext:{example['id']}"


def test_the_example_batch_is_judged_item_by_item_and_an_empty_one_is_valid() -> None:
    second = {**_OBJECT, "source": "/mycontext/9", "subject": "acme"}

    body = decode_cloud_batch(json.dumps([{**_BINARY, "source": "/mycontext/4"}, second]).encode())

    assert [type(item) for item in body.items] == [BadItem, EventInput]
    assert body.is_batch
    assert decode_cloud_batch(b"[]").items == ()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"specversion": "0.3"}, "$.specversion"),
        ({"specversion": None}, "$.specversion"),
        ({"id": ""}, "$.id"),
        ({"id": 7}, "$.id"),
        ({"source": ""}, "$.source"),
        ({"type": ""}, "$.type"),
        ({"type": "naïve"}, "$.type"),
        ({"subject": ""}, "$.subject"),
        ({"subject": None}, "$.subject"),
        ({"subject": "a b"}, "$.subject"),
        ({"time": "yesterday"}, "$.time"),
        ({"time": "2026-11-20T10:00:00"}, "$.time"),
        ({"workspace": "a b"}, "$.workspace"),
        ({"data": [1]}, "$.data"),
        ({"data": {"nested": {}}}, "$.data.nested"),
    ],
)
def test_a_bad_attribute_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    item = _one({**_USAGE, **change})

    assert isinstance(item, BadItem)
    assert item.path == path


@pytest.mark.parametrize("attribute", ["specversion", "id", "source", "type", "subject"])
def test_a_missing_attribute_is_refused(attribute: str) -> None:
    assert isinstance(_one({k: v for k, v in _USAGE.items() if k != attribute}), BadItem)


def test_numbers_keep_their_digits_and_the_workspace_is_read() -> None:
    raw = json.dumps({**_USAGE, "workspace": "prod", "data": "@"}).replace('"@"', '{"gb": 1.50}')

    item = decode_cloud_event(raw.encode()).items[0]

    assert isinstance(item, EventInput)
    assert (item.workspace, str(item.properties["gb"])) == ("prod", "1.50")
    assert item.properties["gb"] == Decimal("1.5")


def test_a_key_that_comes_twice_is_refused() -> None:
    raw = json.dumps(_USAGE)[:-1] + ', "subject": "other"}'

    item = decode_cloud_event(raw.encode()).items[0]

    assert isinstance(item, BadItem)
    assert item.detail == "a key comes twice"


def test_an_unreadable_number_costs_its_own_item() -> None:
    raw = json.dumps([_USAGE, {**_USAGE, "data": "@"}]).replace('"@"', '{"tokens": NaN}')

    items = decode_cloud_batch(raw.encode()).items

    assert [type(item) for item in items] == [EventInput, BadItem]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": 1}', b'"text"', b"[" * 200_000])
def test_a_body_that_is_no_array_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decode_cloud_batch(body)


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b"null", b"nonsense", b'{"a":' * 200_000])
def test_a_body_that_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decode_cloud_event(body)


def test_more_than_a_thousand_are_refused() -> None:
    with pytest.raises(Invalid):
        decode_cloud_batch(json.dumps([_USAGE] * 1001).encode())


_ids = st.text(min_size=1, max_size=150) | st.text("ab:/1", min_size=1, max_size=6)


@given(st.tuples(_ids, _ids), st.tuples(_ids, _ids))
def test_no_two_keys_share_an_identifier(one: tuple[str, str], other: tuple[str, str]) -> None:
    first, second = identifier_of(*one), identifier_of(*other)

    assert (first == second) == (one == other)
    report = {"event_name": "x", "identifier": first, "customer": "acme"}
    assert isinstance(decode_event(json.dumps(report).encode()), EventInput)


def test_what_does_not_fit_is_hashed() -> None:
    assert identifier_of("/a", "1") == "ce2:/a:1"
    assert identifier_of("urn:x?y", "1").startswith("cesha256:")
    assert identifier_of("a", "1" * 122) == "ce1:a:" + "1" * 122
    assert identifier_of("a", "1" * 123).startswith("cesha256:")
    assert identifier_of("a:b", "c") != identifier_of("a", "b:c")


class _Sender:
    def __init__(self) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        _, token = create_api_key(name="app", scopes=["events:write"], at=at)
        self.headers = {"Authorization": f"Bearer {token}"}

    def post(self, content: object, content_type: str) -> Any:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        client = Client(raise_request_exception=False)
        return client.post("/v1/events", body, content_type=content_type, headers=self.headers)


@pytest.mark.django_db
def test_a_batch_is_stored_once_and_answered_by_item(
    at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_project.kernel.clock.now", lambda: at)
    a_customer(at)
    a_meter(at)
    sender = _Sender()
    batch = [_USAGE, {**_USAGE, "source": "/gateway/us"}, _BINARY]

    first = sender.post(batch, f"{CLOUD_BATCH}; charset=UTF-8").json()
    again = sender.post(batch, CLOUD_BATCH).json()

    assert (first["accepted"], first["rejected"]) == (2, 1)
    assert (first["results"][0]["index"], first["results"][0]["path"]) == (2, "$.subject")
    assert (again["accepted"], again["duplicates"]) == (0, 2)
    assert MeterEvent.objects.count() == EventIdentity.objects.count() == 2
    assert sender.post([], CLOUD_BATCH).json()["accepted"] == 0


@pytest.mark.django_db
def test_one_event_is_answered_as_a_native_one(
    at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_project.kernel.clock.now", lambda: at)
    a_customer(at)
    a_meter(at)
    sender = _Sender()

    assert sender.post(_USAGE, CLOUD_EVENT).json() == {
        "identifier": "ce11:/gateway/eu:req-1", "status": "accepted",
    }  # fmt: skip
    other = {**_USAGE, "data": {"model": "haiku", "tokens": "7"}}
    assert sender.post(other, CLOUD_EVENT).status_code == 409
    answer = sender.post({**_USAGE, "specversion": "0.3"}, CLOUD_EVENT)
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "$.specversion")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", CLOUD_BATCH, 400),
        (b"{}", CLOUD_BATCH, 400),
        (b"[]", CLOUD_EVENT, 400),
        (b"", CLOUD_EVENT, 400),
        (b"[]", f"{CLOUD_BATCH}; charset=latin-1", 415),
        (b"[]", "application/cloudevents", 415),
        (b"[]", "application/cloudevents+avro", 415),
        (b"[]", "application/cloudevents-batch+xml", 415),
    ],
)
def test_a_body_of_another_kind_is_refused_whole(
    body: bytes, content_type: str, status: int
) -> None:
    assert _Sender().post(body, content_type).status_code == status
