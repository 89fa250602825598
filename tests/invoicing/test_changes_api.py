"""Changes of subscriptions over HTTP: strict input, keys, previews that change nothing."""

from datetime import datetime
from decimal import Decimal

import pytest
from django.conf import LazySettings

from credits.models import BillingPeriod, LedgerTransaction
from invoicing.models import CreditNote, Invoice, NumberSeries, SubscriptionChange
from invoicing.services.invoices import finalize_due
from tests.invoicing.builders import DAY, START, Shop, sell_plan, subscribed
from tests.invoicing.test_api import Api

pytestmark = pytest.mark.django_db

MID = START + 12 * DAY


@pytest.fixture(autouse=True)
def _clock(settings: LazySettings) -> None:
    settings.BILLING_CLOCK = _iso(MID)


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def test_an_upgrade_is_previewed_and_then_made_once(shop: Shop) -> None:
    sold = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    sell_plan(shop, "larger", fee_minor=9_000, included_credits=Decimal(300))
    api, path = Api("admin"), f"subscriptions/{sold.pk}"
    before = (LedgerTransaction.objects.count(), list(NumberSeries.objects.values("last_number")))

    seen = api.post(f"{path}/preview", {"kind": "plan", "plan": "larger"})

    assert seen.status_code == 200, seen.content
    found = seen.json()
    assert (found["unused_total"], found["charged_total"], found["net"]) == (
        "29.40", "54.00", "24.60",
    )  # fmt: skip
    assert found["unused"][0]["description"] == "Plan-acme: 18 of 30 days x 49.00"
    assert found["charges"][0]["description"].endswith("18 of 30 days x 90.00")
    assert (found["credits"], found["plan"], found["effective_at"]) == (
        "120", "larger v1", _iso(MID),
    )  # fmt: skip
    assert before == (
        LedgerTransaction.objects.count(), list(NumberSeries.objects.values("last_number")),
    )  # fmt: skip
    assert not SubscriptionChange.objects.exists()
    assert not CreditNote.objects.exists()

    body = {"plan": "larger", "when": "now", "reason": "grew"}
    made = [api.post(f"{path}/change", body, key="up-1") for _ in range(2)]

    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    assert made[0].json()["plan"] == "larger"
    assert BillingPeriod.objects.count() == 2
    assert CreditNote.objects.get().total_minor == 2_940
    assert Invoice.objects.get(status="draft").total_minor == 5_400
    state = api.get(path).json()
    assert (state["plan"], state["plan_version"], state["standing"]) == ("larger", 1, "active")


def test_a_pause_and_its_undoing_are_listed(shop: Shop) -> None:
    sold = subscribed(shop)
    api, path = Api("admin"), f"subscriptions/{sold.pk}"

    made = api.post(f"{path}/cancel", {"when": "period_end", "reason": "too dear"}, key="c")
    undone = api.post(f"{path}/changes/{made.json()['id']}/undo", {"reason": "stays"}, key="u")
    paused = api.post(f"{path}/pause", {"reason": "summer"}, key="p")

    assert (made.status_code, undone.status_code, paused.status_code) == (201, 200, 201)
    assert api.get(path).json()["ends_at"] is None
    assert api.get(path).json()["standing"] == "paused"
    listed = api.get(f"{path}/changes").json()["data"]
    assert [(row["kind"], row["undone_at"]) for row in listed] == [
        ("pause", None), ("cancel", _iso(MID)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "body", "status", "code"),
    [
        ("change", {"reason": "x"}, 422, "invalid_value"),
        ("change", {"plan": "none", "reason": "x"}, 404, "not_found"),
        ("change", {"plan": "plan-acme", "reason": "x"}, 409, "conflict"),
        ("change", {"plan": "plan-acme", "when": "soon", "reason": "x"}, 422, "invalid_value"),
        ("change", {"plan": "plan-acme", "when": "2026-10-01T00:00:00Z", "reason": "x"}, 422,
         "invalid_value"),
        ("pause", {"when": "2026-10-01T00:00:00Z", "reason": "x"}, 422, "invalid_value"),
        ("pause", {}, 422, "invalid_value"),
        ("pause", {"reason": "x", "extra": 1}, 422, "invalid_value"),
        ("resume", {"reason": "x"}, 409, "conflict"),
        ("cancel", {"when": "2027-10-01T00:00:00Z", "reason": "x"}, 422, "invalid_value"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    shop: Shop, verb: str, body: dict[str, object], status: int, code: str
) -> None:
    sold = subscribed(shop)

    answer = Api("admin").post(f"subscriptions/{sold.pk}/{verb}", body, key="k")

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert not SubscriptionChange.objects.exists()


def test_an_unknown_subscription_and_a_missing_key_are_refused(shop: Shop) -> None:
    sold, api = subscribed(shop), Api("admin")

    assert api.post("subscriptions/999/pause", {"reason": "x"}, key="k").status_code == 404
    assert api.post(f"subscriptions/{sold.pk}/pause", {"reason": "x"}).status_code == 400
    assert (
        api.post(f"subscriptions/{sold.pk}/changes/1/undo", {"reason": "x"}, key="k2").status_code
        == 404
    )


def test_a_subscription_is_sold_with_a_trial(shop: Shop) -> None:
    subscribed(shop, "other")
    sell_plan(shop, "starter")
    api = Api("admin")
    body = {"external_id": "new", "name": "New", "currency": "USD"}
    assert api.post("customers", body, key="new").status_code == 201

    answer = api.post(
        "subscriptions",
        {"customer": "new", "plan": "starter", "start_at": _iso(MID),
         "trial_until": _iso(MID + 14 * DAY)},
        key="s",
    )  # fmt: skip

    assert answer.status_code == 201, answer.content
    assert api.get(f"subscriptions/{answer.json()['id']}").json()["standing"] == "trial"
    assert not Invoice.objects.filter(customer__external_id="new").exists()
