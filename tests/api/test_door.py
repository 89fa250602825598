"""The short way in gives the answers of the long way, and takes nothing that is unusual."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError

from billing_project.kernel.keys import create_api_key, find_api_key, revoke_api_key
from billing_project.kernel.rest.rates import RATES
from billing_project.kernel.users import worker_user
from metering.api.gathering import GATHERER
from metering.models import MeterEvent
from tests.api.sending import Sender
from tests.metering.builders import a_customer, a_meter

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
GOOD = {"event_name": "llm_request", "identifier": "e1", "customer": "acme"}


@pytest.fixture
def sender(_one_connection: None) -> Sender:
    a_customer(AT)
    a_meter(AT)
    token = create_api_key(name="app", scopes=["events:write"], at=AT)[1]
    sender = Sender(token)
    sender.send(b"{}", is_short=False)  # From now on the process remembers the key.
    sender.long_ways = 0
    return sender


def _body(**changes: Any) -> bytes:
    return json.dumps({**GOOD, "properties": {"tokens": "5", "model": "m"}, **changes}).encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (_body(), 200),
        (_body(identifier="e0"), 200),  # Stored before: a duplicate.
        (_body(identifier="e0", properties={"tokens": "6"}), 409),
        (_body(customer="nobody"), 200),  # Quarantined.
        (_body(event_name="unheard"), 200),
        (_body(properties={"tokens": "x"}), 422),
        (_body(properties={}), 200),
        (_body(properties={"tokens": "-1"}), 422),
    ],
)
def test_both_ways_answer_the_same(sender: Sender, body: bytes, status: int) -> None:
    sender.send(_body(identifier="e0"), is_short=False)
    sender.long_ways = 0

    short = sender.send(body)
    assert sender.long_ways == 0
    long = sender.send(body, is_short=False)

    assert short[0] == long[0] == status
    assert short[1]["Content-Type"] == long[1]["Content-Type"]
    if short[2].get("status") != "accepted":
        assert short[2] == long[2]
    else:
        assert (long[2]["status"], long[2]["identifier"]) == ("duplicate", short[2]["identifier"])


@pytest.mark.parametrize(
    ("body", "changes", "status"),
    [
        (b'{"events":[]}', {}, 422),
        (_body(note="x" * 1024 * 1024), {}, 422),
        (b"{", {}, 400),
        (b"", {}, 400),
        (_body(identifier="bad one"), {}, 422),
        (_body(note="x" * 20_000), {}, 422),
        (_body(), {"HTTP_AUTHORIZATION": "Bearer abk_unknown_key"}, 401),
        (_body(), {"HTTP_AUTHORIZATION": ""}, 401),
        (_body(), {"HTTP_HOST": "elsewhere.example"}, 400),
        (_body(), {"CONTENT_TYPE": "text/plain"}, 415),
        (_body(), {"HTTP_CONTENT_ENCODING": "br"}, 415),
        (_body(), {"QUERY_STRING": "q=%00"}, 422),
        (_body(), {"REQUEST_METHOD": "DELETE"}, 403),  # No scope opens it.
    ],
)
def test_what_is_unusual_takes_the_long_way(
    sender: Sender, body: bytes, changes: dict[str, Any], status: int
) -> None:
    assert sender.send(body, **changes)[0] == status
    assert sender.long_ways == 1


@pytest.mark.parametrize("count", [1, 3, 150])
def test_both_ways_answer_a_batch_the_same(sender: Sender, count: int) -> None:
    def batch(serial: str) -> bytes:
        good = [_body(identifier=f"{serial}-{n}") for n in range(count)]
        odd = [
            _body(identifier="e0"),
            _body(identifier="e0", properties={"tokens": "6"}),
            _body(identifier="e0", customer="nobody"),
            _body(identifier="bad one"),
            _body(identifier=f"{serial}-x", properties={"tokens": 5, "ratio": 0.5}),
        ]
        return b'{"events":[%b]}' % b",".join([*good, *odd])

    sender.send(_body(identifier="e0"), is_short=False)
    sender.long_ways = 0

    short = sender.send(batch("short"))
    assert sender.long_ways == 0
    long = sender.send(batch("long"), is_short=False)

    assert short[0] == long[0] == 200
    assert short[2] == long[2]
    assert short[2]["accepted"] == count + 1
    assert short[1]["Content-Type"] == long[1]["Content-Type"]


def test_a_batch_of_a_revoked_key_is_refused(sender: Sender) -> None:
    key = find_api_key(sender.token)
    assert key is not None
    revoke_api_key(key=key, by=worker_user(), reason="lost", at=AT)

    assert sender.send(b'{"events":[%b]}' % _body())[0] == 401
    assert not MeterEvent.objects.exists()


def test_a_body_that_is_too_much_is_refused_before_it_is_decoded(sender: Sender) -> None:
    assert sender.send(b"[" + b"," * 600_000 + b"]")[0] == 413
    assert sender.long_ways == 0


def test_a_body_shorter_than_its_length_is_refused(sender: Sender) -> None:
    assert sender.send(_body(), CONTENT_LENGTH="5000")[0] == 400
    assert not MeterEvent.objects.exists()


def test_a_key_that_was_revoked_is_refused_at_once(sender: Sender) -> None:
    key = find_api_key(sender.token)
    assert key is not None
    assert sender.send(_body())[0] == 200

    revoke_api_key(key=key, by=worker_user(), reason="lost", at=AT)

    status, headers, _ = sender.send(_body(identifier="e2"))
    assert status == 401
    assert "WWW-Authenticate" in headers
    assert MeterEvent.objects.count() == 1


def test_a_key_without_the_scope_is_refused(sender: Sender) -> None:
    sender.token = create_api_key(name="reader", scopes=["usage:read"], at=AT)[1]
    assert sender.send(_body(), is_short=False)[0] == 403

    assert sender.send(_body())[0] == 403


def test_a_database_that_is_down_is_said_at_once(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("down")

    monkeypatch.setattr(GATHERER, "store", fail)

    status, headers, content = sender.send(_body())

    assert (status, content["code"], headers["Retry-After"]) == (503, "unavailable", "1")
    assert sender.long_ways == 0


def test_too_many_calls_are_refused_here_too(sender: Sender, settings: Any) -> None:
    settings.API_CALLS_PER_SECOND = 1
    RATES.__init__()  # type: ignore[misc]
    statuses = [sender.send(_body(identifier=f"e{n}"))[0] for n in range(4)]

    assert 429 in statuses


def test_a_batch_is_counted_as_one_call(sender: Sender, settings: Any) -> None:
    settings.API_CALLS_PER_SECOND = 1
    RATES.__init__()  # type: ignore[misc]

    statuses = [sender.send(b'{"events": [%s]}' % _body())[0] for _ in range(2)]

    assert statuses == [200, 200]  # Two at once are allowed.


def test_only_https_is_short_where_that_is_asked_for(sender: Sender, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True

    over_https: dict[str, Any] = {"wsgi.url_scheme": "https"}
    assert sender.send(_body(), **over_https)[0] == 200
    assert sender.long_ways == 0
    sender.send(_body(identifier="e2"))
    assert sender.long_ways == 1


def test_the_senders_request_id_is_kept(sender: Sender) -> None:
    assert sender.send(_body(), HTTP_X_REQUEST_ID="abc-1")[1]["X-Request-ID"] == "abc-1"
