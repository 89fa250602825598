"""The request path over HTTP: decisions, holds, limits and alerts."""

from typing import Any

import pytest
from django.test import Client

from billing_project.kernel.keys import create_api_key
from credits.models import Authorization, Hold, SpendLimit
from metering.services.meters import create_meter
from tests.credits.builders import Shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(shop: Shop, settings: Any) -> Client:
    """Return a client whose key may ask, and propose limits."""
    settings.BILLING_CLOCK = shop.at.isoformat()
    shop.grant("100")
    _, token = create_api_key(name="gate", scopes=["authorize", "admin"], at=shop.at)
    return Client(headers={"Authorization": f"Bearer {token}"})


def _post(api: Client, path: str, body: object, key: str | None = None) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return api.post(f"/v1/{path}", body, content_type="application/json", headers=headers)


def _ask(api: Client, shop: Shop, key: str | None = None, **body: object) -> Any:
    return _post(api, "authorizations", {"customer": shop.customer.external_id, **body}, key)


def test_an_estimate_is_allowed_held_and_settled(api: Client, shop: Shop) -> None:
    answer = _ask(api, shop, model="small", estimate={"input": 100}).json()

    assert (answer["decision"], answer["reason"], answer["credits"]) == ("allow", "allowed", "50")
    assert answer["available"] == "50"
    balance = api.get(f"/v1/customers/{shop.customer.external_id}/balance").json()
    assert balance["balances"][0]["held"] == "50"
    assert balance["balances"][0]["available"] == "50"
    identifier = shop.use(input="20")
    where = f"authorizations/{answer['hold']}"
    settled = _post(api, f"{where}/settle", {"identifier": identifier}).json()
    assert (settled["state"], settled["credits"], settled["unit"]) == ("settled", "10", "credit")
    assert api.get(f"/v1/{where}").json() == settled
    assert _post(api, f"{where}/settle", {"identifier": identifier}).json() == settled
    assert _post(api, f"{where}/release", {}).status_code == 409


def test_a_refusal_is_an_answer_that_says_why(api: Client, shop: Shop) -> None:
    answer = _ask(api, shop, credits="100.5")

    assert answer.status_code == 200
    assert answer.json() == {
        "decision": "deny",
        "reason": "insufficient_balance",
        "detail": "100.5 credits are asked for, 100 are available",
        "hold": None,
        "credits": "100.5",
        "unit": "credit",
        "available": "100",
        "limits": [],
        "instead": None,
        "expires_at": None,
    }
    assert Authorization.objects.get().is_allowed is False


def test_a_repeat_under_its_key_is_one_hold(api: Client, shop: Shop) -> None:
    first = _ask(api, shop, "key-1", credits="60")
    again = _ask(api, shop, "key-1", credits="60")

    assert again.json() == first.json()
    assert again["Idempotency-Replayed"] == "true"
    assert Hold.objects.count() == 1


def test_a_limit_is_proposed_listed_and_enforced_once_approved(api: Client, shop: Shop) -> None:
    body = {
        "code": "daily", "customer": shop.customer.external_id, "window": "day", "mode": "hard",
        "unit": "credit", "credits": "5", "product_requirement": "Stop runaways",
        "reason_code": "runaway",
    }  # fmt: skip
    made = _post(api, "spend_limits", body)

    assert made.status_code == 201, made.json()
    assert made.json()["status"] == "submitted"
    assert _ask(api, shop, credits="4").json()["limits"] == []
    shop.approve(SpendLimit.objects.get().policy_change)
    refused = _ask(api, shop, credits="2").json()
    assert (refused["reason"], refused["limits"][0]["left"]) == ("limit_reached", "1")
    assert _ask(api, shop, credits="1").json()["decision"] == "allow"
    (alert,) = api.get("/v1/alerts").json()["data"]
    assert (alert["kind"], alert["title"]) == ("spend_limit", "daily is used up to 100 %")
    (listed,) = api.get("/v1/spend_limits").json()["data"]
    assert (listed["code"], listed["status"]) == ("daily", "approved")


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({}, 422, "estimate"),
        ({"credits": "1", "estimate": {"input": "1"}}, 422, "estimate"),
        ({"credits": "-1"}, 422, "credits"),
        ({"credits": "1e400"}, 422, "credits"),
        ({"credits": "1", "ttl_seconds": 0}, 422, "ttl_seconds"),
        ({"credits": "1", "unit": "pearls"}, 404, "unit"),
        ({"credits": "1", "model": "a\x00b"}, 422, "NUL"),
        ({"credits": "1", "colour": "red"}, 422, "colour"),
        ({"estimate": {}}, 422, "estimate"),
        ({"estimate": {"input": ["1"]}}, 422, "estimate"),
        ({"estimate": {"nothing": "1"}}, 422, "estimate"),
        ({"estimate": {"input": -1}}, 422, "$.estimate.input"),
        ({"estimate": {"input": "NaN"}}, 422, "$.estimate.input"),
        ({"estimate": {"input": True}}, 422, "$.estimate.input"),
        ({"estimate": {"input": "9" * 25}}, 422, "$.estimate.input"),
        ({"estimate": {"input": "0.0000000000001"}}, 422, "$.estimate.input"),
        ({"credits": "0.0000000000001"}, 422, "$.credits"),
        ({"credits": "NaN"}, 422, "$.credits"),
        ({"credits": "1", "ttl_seconds": "1.5"}, 422, "$.ttl_seconds"),
        ({"credits": "1", "ttl_seconds": 86_401}, 422, "$.ttl_seconds"),
        ({"estimate": {"input": "1"}, "event_name": "nothing"}, 422, "estimate"),
        ({"model": "small", "estimate": {"input": "1", "model": "large"}}, 422, "estimate"),
        ({"credits": "1", "workspace": "nowhere"}, 404, ""),
        ({"credits": "1", "customer": "nobody"}, 404, ""),
    ],
)
def test_bad_input_is_named_and_nothing_is_held(
    api: Client, shop: Shop, body: dict[str, object], status: int, where: str
) -> None:
    answer = _ask(api, shop, None, **body)

    assert answer.status_code == status, answer.json()
    assert where in str(answer.json())
    assert Authorization.objects.count() == 0


def test_an_estimate_is_not_priced_in_part(api: Client, shop: Shop) -> None:
    create_meter(
        code="cached", name="Cached", event_name="input", aggregation="sum", unit="token",
        value_property="cached", by=shop.maker, at=shop.at,
    )  # fmt: skip

    answer = _ask(api, shop, estimate={"input": "2", "cached": "-1"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "$.estimate.cached"
    assert "cached is negative" in answer.json()["errors"][0]["detail"]
    assert _ask(api, shop, estimate={"input": "2", "note": "-1"}).json()["credits"] == "1"


def test_a_hold_nobody_made_is_not_found(api: Client) -> None:
    for verb, body in (("settle", {"identifier": "a"}), ("release", {})):
        answer = _post(api, f"authorizations/hold_none/{verb}", body)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_hold")


def test_limits_without_a_code_never_replace_one_another(api: Client, shop: Shop) -> None:
    body = {
        "customer": shop.customer.external_id, "window": "day", "mode": "hard", "unit": "credit",
        "credits": "5", "product_requirement": "Stop runaways", "reason_code": "runaway",
    }  # fmt: skip
    scopes: list[dict[str, str]] = [{}, {"model": "large"}, {"model": "small"}, {"job": "x" * 100}]
    for scope in scopes:
        made = _post(api, "spend_limits", {**body, **scope})
        assert (made.status_code, made.json().get("version")) == (201, 1), made.json()

    again = _post(api, "spend_limits", {**body, "model": "large", "credits": "7"})
    assert again.json()["version"] == 2


def test_a_hold_of_a_name_that_no_text_can_be_is_refused(api: Client) -> None:
    assert api.get("/v1/authorizations/%00").status_code == 422
