"""Grants and the ledger over HTTP."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import ApiKey
from credits.models import CreditGrant, LedgerTransaction
from metering.services.customers import close_customer
from tests.credits.builders import Shop, make_customer

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clock(settings: Any) -> None:
    settings.BILLING_CLOCK = NOW.isoformat()


@pytest.fixture
def api(shop: Shop) -> Client:
    """Return a client whose key reads balances and writes credits."""
    _, token = create_api_key(name="test", scopes=["usage:read", "credits:write"], at=NOW)
    shop.rate()  # Takes the note of the period, so that nothing waits.
    return Client(headers={"Authorization": f"Bearer {token}"})


def _post(api: Client, path: str, body: object, key: str = "key-1") -> Any:
    return api.post(
        f"/v1/{path}", body, content_type="application/json", headers={"Idempotency-Key": key}
    )


def _body(**changes: object) -> dict[str, object]:
    return {
        "customer": "acme", "category": "promotional", "amount": "12.5", "unit": "credit",
        "reason_code": "welcome", **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("ledger_transactions?grant=7", "not_found"),
        ("credit_grants?customer=nobody", "unknown_customer"),
    ],
)
def test_what_does_not_exist_is_not_found(api: Client, path: str, code: str) -> None:
    answer = api.get(f"/v1/{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, code)


def test_credits_are_given(api: Client, shop: Shop) -> None:
    shop.workspace("prod")
    answer = _post(
        api,
        "credit_grants",
        _body(
            category="paid",
            price={"amount": "90.00", "currency": "USD"},
            priority=10,
            expires_at="2027-01-01T00:00:00+01:00",
            scope={"workspace": "prod", "meters": ["output", "input"]},
        ),
    )

    grant = CreditGrant.objects.get()
    assert answer.status_code == 201
    assert answer.json() == {
        "id": str(grant.pk),
        "customer": "acme",
        "category": "paid",
        "name": "",
        "amount": "12.5",
        "remaining": "12.5",
        "unit": "credit",
        "price": {"amount": "90.00", "currency": "USD"},
        "priority": 10,
        "effective_at": "2026-11-20T12:00:00Z",
        "expires_at": "2026-12-31T23:00:00Z",
        "scope": {"workspace": "prod", "meters": ["input", "output"]},
        "reason_code": "welcome",
        "terms": None,
        "origin": None,
        "first_grant": None,
        "rule": None,
        "rule_period_at": None,
        "created_at": "2026-11-20T12:00:00Z",
    }


def test_the_same_key_gives_once(api: Client) -> None:
    first = _post(api, "credit_grants", _body())
    again = _post(api, "credit_grants", _body())

    assert again.json() == first.json()
    assert CreditGrant.objects.count() == 1


def test_what_a_revoked_key_gave_is_not_given_again_by_its_successor(api: Client) -> None:
    first = _post(api, "credit_grants", _body()).json()
    ApiKey.objects.update(revoked_at=NOW)
    _, token = create_api_key(name="new", scopes=["credits:write"], at=NOW)
    successor = Client(headers={"Authorization": f"Bearer {token}"})

    refused = _post(successor, "credit_grants", _body())

    assert (refused.status_code, refused.json()["code"]) == (409, "used_by_revoked_key")
    assert f"number {first['id']}" in refused.json()["detail"]
    assert CreditGrant.objects.count() == 1
    assert _post(successor, "credit_grants", _body(), key="key-2").status_code == 201


def test_the_same_key_with_another_amount_is_a_conflict(api: Client) -> None:
    _post(api, "credit_grants", _body())
    answer = _post(api, "credit_grants", _body(amount="13"))

    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")


def test_a_write_without_a_key_is_refused(api: Client) -> None:
    answer = api.post("/v1/credit_grants", _body(), content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")


@pytest.mark.parametrize(
    "wrong",
    [
        {"category": "included"},
        {"category": "paid"},
        {"category": "paid", "price": {"amount": "0", "currency": "USD"}},
        {"price": {"amount": "1.00", "currency": "USD"}},
        {"category": "paid", "price": {"amount": "1.001", "currency": "USD"}},
        {"category": "paid", "price": {"amount": "1.00", "currency": "EUR"}},
        {"effective_at": "9999-12-31T00:00:00Z"},
        {"expires_at": "9999-12-31T00:00:00Z"},
        {"amount": "0"},
        {"amount": "NaN"},
        {"amount": "1e400"},
        {"amount": "9" * 60},
        {"priority": 101},
        {"scope": {"meters": ["nothing"]}},
        {"expires_at": "2026-01-01T00:00:00Z"},
        {"effective_at": "2026-11-20T12:00:00"},
        {"reason_code": ""},
        {"reason_code": "a\u0000b"},
        {"surprise": 1},
    ],
)
def test_a_value_out_of_bounds_is_refused(api: Client, wrong: dict[str, object]) -> None:
    answer = _post(api, "credit_grants", _body(**wrong))

    assert answer.status_code == 422, answer.json()
    assert CreditGrant.objects.count() == 0


@pytest.mark.parametrize(
    ("wrong", "status", "path"),
    [
        ({"unit": "token"}, 404, "$.unit"),
        ({"customer": "nobody"}, 404, "$.customer"),
        ({"customer": "left"}, 409, "$.customer"),
        ({"amount": "0.0000000000001"}, 422, "$.amount"),
        ({"expires_at": "2026-01-01T00:00:00Z"}, 422, "$.expires_at"),
        ({"scope": {"workspace": "none"}}, 404, "$.scope.workspace"),
        ({"scope": {"meters": ["none"]}}, 422, "$.scope.meters"),
    ],
)
def test_a_refusal_names_the_field_and_stores_nothing(
    api: Client, shop: Shop, wrong: dict[str, object], status: int, path: str
) -> None:
    left = make_customer("left", shop.maker, shop.at)
    close_customer(customer=left, reason="gone", by=shop.maker, at=shop.at)

    answer = _post(api, "credit_grants", _body(**wrong))

    assert answer.status_code == status
    assert [error["path"] for error in answer.json()["errors"]] == [path]
    assert CreditGrant.objects.count() == 0


@pytest.mark.parametrize(("verb", "kind"), [("void", "voided"), ("expire", "expired")])
def test_what_remains_is_taken_back(api: Client, shop: Shop, verb: str, kind: str) -> None:
    grant = shop.grant("10", category="paid", price_minor=100)

    answer = _post(api, f"credit_grants/{grant.pk}/{verb}", {"reason_code": "mistake"})

    assert answer.status_code == 200
    found = answer.json()
    assert (found["kind"], found["credits"], found["cost"]["amount"]) == (kind, "-10", "-1")
    repeat = _post(api, f"credit_grants/{grant.pk}/{verb}", {"reason_code": "mistake"}, "key-2")
    assert repeat.json()["id"] == found["id"]


def test_an_unknown_grant_is_not_found(api: Client) -> None:
    for number in ("7", "9" * 30):
        answer = _post(api, f"credit_grants/{number}/void", {"reason_code": "x"}, number)
        assert answer.status_code == 404


def test_lists_are_newest_first_and_filtered(api: Client, shop: Shop) -> None:
    first, second = shop.grant("10"), shop.grant("5")
    shop.use(input="2")
    shop.rate()

    grants = api.get("/v1/credit_grants?customer=acme").json()
    ledger = api.get(f"/v1/ledger_transactions?customer=acme&grant={first.pk}").json()

    assert [row["id"] for row in grants["data"]] == [str(second.pk), str(first.pk)]
    assert [(row["kind"], row["credits"]) for row in ledger["data"]] == [
        ("drawn", "-1"),
        ("granted", "10"),
    ]
    assert ledger["next_cursor"] is None


def test_a_reading_key_gives_no_credits(shop: Shop) -> None:
    _, token = create_api_key(name="reader", scopes=["usage:read"], at=NOW)
    reader = Client(headers={"Authorization": f"Bearer {token}"})

    answer = _post(reader, "credit_grants", _body())

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert LedgerTransaction.objects.count() == 0
