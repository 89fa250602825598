"""Authorizations by the short way in: the answers of the long way, and nothing unusual."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_project.api import door
from billing_project.kernel.keys import create_api_key, find_api_key, revoke_api_key
from billing_project.kernel.models import IdempotencyRecord, User
from billing_project.kernel.rest import idempotency
from billing_project.kernel.rest.rates import RATES
from billing_project.kernel.users import worker_user
from credits.api.plain_authorizations import authorization_answer
from credits.models import Authorization, Hold
from metering.services.customers import add_alias, create_workspace
from tests.api.sending import Answer, Sender
from tests.credits.builders import NOVEMBER, Shop, make_shop

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PATH = "/v1/authorizations"
ASKED = {"customer": "acme", "model": "small", "estimate": {"input": "3"}}
KEYED = {"HTTP_IDEMPOTENCY_KEY": "ask-1"}


@pytest.fixture
def shop(maker: User, approver: User, settings: Any) -> Shop:
    settings.BILLING_CLOCK = AT.isoformat()
    shop = make_shop(maker, approver, NOVEMBER.start)
    shop.grant("1000")
    add_alias(customer=shop.customer, external_id="acme-2", reason="merged", by=maker, at=AT)
    create_workspace(customer=shop.customer, external_id="prod", name="Prod", by=maker, at=AT)
    return shop


@pytest.fixture
def sender(shop: Shop, _one_connection: None) -> Sender:
    sender = Sender(create_api_key(name="gate", scopes=["authorize"], at=AT)[1])
    sender.ask(f"{PATH}/hold_none", is_short=False)  # From now on the process remembers the key.
    sender.long_ways = 0
    return sender


def _ask(sender: Sender, asked: object, **changes: Any) -> Answer:
    return sender.send(json.dumps(asked).encode(), PATH_INFO=PATH, **changes)


def _steady(answer: Answer) -> tuple[int, dict[str, Any]]:
    """Leave out a hold's name, which is drawn, and what is left after earlier holds."""
    status, _, document = answer
    has_hold = bool(document.get("hold"))
    told = {**document, "hold": has_hold, "available": None, "request_id": None}
    return status, {name: value for name, value in told.items() if name != "instance"}


@pytest.mark.parametrize(
    "asked",
    [
        ASKED,
        {**ASKED, "customer": "acme-2", "workspace": "prod", "job": "nightly", "request": "r-1"},
        {"customer": "acme", "credits": "7.5", "unit": "credit", "ttl_seconds": 60},
        {"customer": "acme", "credits": 7.25, "workspace": None},
        {"customer": "acme", "credits": "100000"},
        {**ASKED, "estimate": {"input": 3, "model": "small"}},
        {**ASKED, "estimate": {"input": "3"}, "model": "unheard-of"},
    ],
)
def test_both_ways_answer_the_same(sender: Sender, asked: dict[str, Any]) -> None:
    short = _ask(sender, asked)
    assert sender.long_ways == 0
    long = _ask(sender, asked, is_short=False)

    assert _steady(short) == _steady(long)
    assert short[0] == 200
    assert short[1]["Content-Type"] == long[1]["Content-Type"]
    assert Authorization.objects.count() == 2
    assert [_written(row) for row in Authorization.objects.order_by("pk")[:1]] == [
        _written(row) for row in Authorization.objects.order_by("pk")[1:]
    ]


def _written(row: Authorization) -> dict[str, Any]:
    """Return all that was kept of a decision, and of its hold, but for their own names."""
    parts: list[Any] = [row, *Hold.objects.filter(authorization=row)]
    return {
        f"{type(part).__name__}.{field.attname}": getattr(part, field.attname)
        for part in parts
        for field in part._meta.concrete_fields
        if field.attname not in {"id", "key", "authorization_id"}
    }


@pytest.mark.parametrize(
    ("asked", "changes", "status"),
    [
        ({**ASKED, "customer": "nobody"}, {}, 404),
        ({**ASKED, "workspace": "nowhere"}, {}, 404),
        ({**ASKED, "estimate": {"colour": "3"}}, {}, 422),
        ({**ASKED, "estimate": {}}, {}, 422),
        ({**ASKED, "estimate": {"input": None}}, {}, 422),
        ({**ASKED, "credits": "1"}, {}, 422),
        ({"customer": "acme"}, {}, 422),
        ({"customer": "acme", "credits": "NaN"}, {}, 422),
        ({"customer": "acme", "credits": "1", "unit": "gold"}, {}, 404),
        ({"customer": "acme", "credits": "1", "unit": ""}, {}, 422),
        ({**ASKED, "unit": "credit"}, {}, 422),
        ({**ASKED, "ttl_seconds": 0}, {}, 422),
        ({**ASKED, "ttl_seconds": True}, {}, 422),
        ({**ASKED, "ttl_seconds": "60"}, {}, 200),
        ({**ASKED, "model": " small "}, {}, 200),
        ({**ASKED, "model": "a b"}, {}, 422),
        ({**ASKED, "colour": "red"}, {}, 422),
        ([ASKED], {}, 422),
        (ASKED, {"QUERY_STRING": "a=b"}, 200),
        (ASKED, {"CONTENT_TYPE": "application/json; charset=utf-8"}, 200),
        (ASKED, {"REQUEST_METHOD": "GET"}, 405),
        (ASKED, {"HTTP_AUTHORIZATION": "Bearer abk_unknown_key"}, 401),
        (ASKED, {"HTTP_IDEMPOTENCY_KEY": ""}, 400),
        (ASKED, {"HTTP_IDEMPOTENCY_KEY": "é"}, 400),
    ],
)
def test_what_is_unusual_takes_the_long_way(
    sender: Sender, asked: object, changes: dict[str, Any], status: int
) -> None:
    answer = _ask(sender, asked, **changes)

    assert (answer[0], sender.long_ways) == (status, 1)
    assert Authorization.objects.count() == (status == 200)


def test_a_repeat_gets_the_first_answer_and_holds_nothing_more(sender: Sender) -> None:
    first = _ask(sender, ASKED, **KEYED)
    assert sender.long_ways == 0

    again, other = _ask(sender, ASKED, **KEYED), _ask(sender, {**ASKED, "job": "x"}, **KEYED)

    assert again[2] == first[2]
    assert again[1]["Idempotency-Replayed"] == "true"
    assert other[0] == 409
    assert Hold.objects.count() == 1


def test_a_first_answer_of_the_long_way_is_a_repeat_here_too(sender: Sender) -> None:
    first = _ask(sender, ASKED, is_short=False, **KEYED)
    assert _ask(sender, ASKED, **KEYED)[2] == first[2]
    assert Hold.objects.count() == 1


def test_whoever_was_kept_since_has_the_answer(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim's statement may see less than what is committed: the constraint decides."""
    first = _ask(sender, ASKED, **KEYED)
    blind = idempotency._BEGIN.replace("key = %(key)s)", "key = %(key)s AND false)")
    assert blind != idempotency._BEGIN
    monkeypatch.setattr(idempotency, "_BEGIN", blind)

    assert _ask(sender, ASKED, **KEYED)[2] == first[2]
    assert (sender.long_ways, Hold.objects.count(), IdempotencyRecord.objects.count()) == (1, 1, 1)


def test_a_refusal_is_kept_under_its_key_by_the_long_way(sender: Sender) -> None:
    asked = {**ASKED, "estimate": {"colour": "3"}}
    first, again = _ask(sender, asked, **KEYED), _ask(sender, asked, **KEYED)
    assert (first[0], again[0]) == (422, 422)
    assert again[1]["Idempotency-Replayed"] == "true"


def test_a_key_that_was_revoked_is_refused_at_once(sender: Sender) -> None:
    key = find_api_key(sender.token)
    assert key is not None
    assert _ask(sender, ASKED)[0] == 200

    revoke_api_key(key=key, by=worker_user(), reason="lost", at=AT)

    assert _ask(sender, ASKED)[0] == 401
    assert Authorization.objects.count() == 1


def test_a_key_without_the_scope_is_refused(sender: Sender) -> None:
    sender.token = create_api_key(name="writer", scopes=["events:write"], at=AT)[1]
    assert _ask(sender, ASKED, is_short=False)[0] == 403
    assert _ask(sender, ASKED)[0] == 403


def test_a_lost_connection_decides_nothing_twice(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit may have come through: only the record of a key tells."""

    def lose(*said: Any) -> None:
        authorization_answer(*said)
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(door, "authorization_answer", lose)

    assert _ask(sender, ASKED)[0] == 503
    assert (sender.long_ways, Hold.objects.count()) == (0, 1)
    assert _ask(sender, ASKED, **KEYED)[0] == 200
    assert (sender.long_ways, Hold.objects.count()) == (1, 2)


def test_any_other_failure_is_said_by_the_long_way(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(door, "authorization_answer", fail)

    assert _ask(sender, ASKED)[0] == 200
    assert sender.long_ways == 1


@pytest.mark.parametrize("place", ["", 0, False, [], {}])
def test_no_name_of_a_workspace_is_no_workspace_at_all(sender: Sender, place: object) -> None:
    asked = {"customer": "acme", "credits": "1", "workspace": place}

    short, long = _ask(sender, asked), _ask(sender, asked, is_short=False)

    assert _steady(short) == _steady(long)
    assert (short[0], Hold.objects.count()) == (422, 0)


def test_too_many_calls_are_refused_here_too(sender: Sender, settings: Any) -> None:
    settings.API_CALLS_PER_SECOND = 1
    RATES.__init__()  # type: ignore[misc]

    assert [_ask(sender, ASKED)[0] for _ in range(3)] == [200, 200, 429]


_words = st.sampled_from(["", "small", "a b", "x" * 129, "prod", "acme", "é", " small", None, 7])
_bodies: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"customer": st.sampled_from(["acme", "acme-2", "acme-2", "nobody", "", 7, None])},
    optional={
        "workspace": st.sampled_from(["prod", "nowhere", "", None, 1]),
        "model": _words, "job": _words, "request": _words, "event_name": _words,
        "estimate": st.sampled_from(
            [{"input": "3"}, {"input": 3, "output": "1"}, {}, {"input": []}, "3", {"": 1}, None]
        ),
        "credits": st.sampled_from(["1", "0.5", 2, 1.5, "-1", "1e3", "NaN", None, "9" * 30]),
        "unit": st.sampled_from(["credit", "gold", "", None, "credit "]),
        "ttl_seconds": st.sampled_from([1, 60, 0, 86_401, "60", 1.0, True, None]),
        "colour": st.just("red"),
    },
)  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(asked=_bodies)
def test_any_body_is_answered_as_the_long_way_does(sender: Sender, asked: dict[str, Any]) -> None:
    assert _steady(_ask(sender, asked)) == _steady(_ask(sender, asked, is_short=False))
