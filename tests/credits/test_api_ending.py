"""Grants that end over HTTP, burns that explain themselves, and what credits never do."""

from typing import Any

import pytest
from django.test import Client

from billing_project.kernel.keys import create_api_key
from billing_project.kernel.kinds import kind_of
from billing_project.kernel.models import AuditEntry
from credits.models import CreditGrant, LedgerTransaction
from metering.services.customers import close_customer
from tests.credits.builders import Shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(shop: Shop, settings: Any) -> Client:
    """Return a client whose key reads balances and writes credits."""
    settings.BILLING_CLOCK = shop.at.isoformat()
    _, token = create_api_key(name="test", scopes=["usage:read", "credits:write"], at=shop.at)
    return Client(headers={"Authorization": f"Bearer {token}"})


def _post(api: Client, path: str, body: object, key: str = "key-1") -> Any:
    return api.post(
        f"/v1/{path}", body, content_type="application/json", headers={"Idempotency-Key": key}
    )


def test_a_void_says_what_was_used_and_can_be_undone_once(api: Client, shop: Shop) -> None:
    grant = shop.grant("100")
    shop.use(input="80")  # 80 x 0.5 = 40 credits
    shop.rate()

    void = _post(api, f"credit_grants/{grant.pk}/void", {"reason_code": "mistake"}).json()
    back = _post(api, f"credit_grants/{grant.pk}/reinstate", {"reason_code": "mistake"}, "2")
    again = _post(api, f"credit_grants/{grant.pk}/reinstate", {"reason_code": "mistake"}, "3")

    assert void["credits"] == "-60"
    assert void["used_stays"] == "40 of 100 credits were used and stay used."
    assert (back.json()["kind"], back.json()["credits"]) == ("reinstated", "60")
    assert (again.status_code, again.json()["code"]) == (409, "insufficient")
    assert api.get(f"/v1/credit_grants/{grant.pk}").json()["remaining"] == "60"


def test_a_refund_and_a_dispute_claw_back_once(api: Client, shop: Shop) -> None:
    grant = shop.grant("10", category="paid", price_minor=100)
    where = f"credit_grants/{grant.pk}/claw_back"

    first = _post(api, where, {"reason": "refund", "reference": "re_1"}).json()
    second = _post(api, where, {"reason": "dispute", "reference": "dp_1"}, "2").json()

    assert (first["credits"], first["used"], first["follows"]) == ("10", "0", None)
    assert (second["credits"], second["follows"]) == ("0", first["id"])


def test_a_burn_tells_why_it_took_its_grant(api: Client, shop: Shop) -> None:
    shop.grant("10", priority=10)
    shop.grant("10")
    shop.use(input="2")
    shop.rate()
    entry = LedgerTransaction.objects.get(kind="drawn")

    found = api.get(f"/v1/ledger_transactions/{entry.pk}").json()

    assert found["position"] == str(entry.position)
    assert found["why_this_grant"].startswith("priority 10, before grant ")


@pytest.mark.parametrize("verb", ["transfer", "withdraw", "gift", "cash-out"])
def test_credits_are_no_stored_value(api: Client, shop: Shop, verb: str) -> None:
    grant = shop.grant("10")
    before = LedgerTransaction.objects.count()

    answer = _post(api, f"credit_grants/{grant.pk}/{verb}", {"to": "somebody", "amount": "5"})

    assert (answer.status_code, answer.json()["code"]) == (403, "not_stored_value")
    assert "kind stored_value, by finance and by legal" in answer.json()["detail"]
    noted = AuditEntry.objects.get(action="refuse_stored_value")
    assert (noted.subject, noted.facts) == (f"creditgrant:{grant.pk}", {"verb": verb})
    assert (CreditGrant.objects.count(), LedgerTransaction.objects.count()) == (1, before)
    assert kind_of("stored_value").needs == ("finance", "legal")


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"unit": "gold"}, "$.unit"),
        ({"amount": "1.0000000000001"}, "$.amount"),
        ({"expires_at": "2026-01-01T00:00:00Z"}, "$.expires_at"),
        ({"scope": {"meters": ["nothing"]}}, "$.scope.meters"),
        ({"scope": {"workspace": "nowhere"}}, "$.scope.workspace"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_stored(
    api: Client, wrong: dict[str, object], path: str
) -> None:
    body = {
        "customer": "acme", "category": "promotional", "amount": "1", "unit": "credit",
        "reason_code": "welcome", **wrong,
    }  # fmt: skip

    answer = _post(api, "credit_grants", body)

    assert answer.status_code in {404, 422}
    assert [error["path"] for error in answer.json()["errors"]] == [path]
    assert CreditGrant.objects.count() == 0


def test_a_closed_customer_gets_no_credits(api: Client, shop: Shop) -> None:
    close_customer(customer=shop.customer, reason="left", by=shop.maker, at=shop.at)
    body = {
        "customer": "acme", "category": "promotional", "amount": "1", "unit": "credit",
        "reason_code": "welcome",
    }  # fmt: skip

    answer = _post(api, "credit_grants", body)

    assert (answer.status_code, answer.json()["code"]) == (409, "customer_closed")
    assert [error["path"] for error in answer.json()["errors"]] == ["$.customer"]
    assert CreditGrant.objects.count() == 0
