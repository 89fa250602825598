"""The API of what is sold within a subscription: seats, coupons, outcomes."""

from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from billing_project.kernel.approvals import approve
from invoicing.items import Item
from invoicing.models import CreditNote, Invoice, Outcome, SeatChange, Subscription
from invoicing.services.coupons import CouponTerms, propose_coupon
from invoicing.services.invoices import finalize_due
from tests.invoicing.builders import DAY, LAUNCH, START, Shop, customer_of, sell_plan, words
from tests.invoicing.test_api import Api

pytestmark = pytest.mark.django_db

NOW = START + 12 * DAY
ITEMS = (
    Item("seat", "seats", "Seats", 2_000),
    Item("outcome", "resolved", "Resolved ticket", 99),
    Item("credit_pack", "thousand", "1,000 credits", 900, credits=Decimal(1000)),
)


@pytest.fixture(autouse=True)
def _clock(settings: Settings) -> None:
    settings.BILLING_CLOCK = NOW.isoformat()


@pytest.fixture
def admin(db: None) -> Api:
    """Return a key that may do everything."""
    return Api("admin")


@pytest.fixture
def sold(shop: Shop, admin: Api) -> Subscription:
    """Sell five seats through the API."""
    sell_plan(shop, "team", items=ITEMS)
    customer_of(shop)
    body = {"customer": "acme", "plan": "team", "start_at": START.isoformat(), "seats": 5}
    assert admin.post("subscriptions", body, key="sale").status_code == 201
    finalize_due(by=shop.worker, at=NOW)
    return Subscription.objects.get()


def _detail(response: Any) -> str:
    detail: str = response.json()["detail"]
    return detail


def test_seats_are_added_once_however_often_it_is_said(sold: Subscription, admin: Api) -> None:
    path = f"subscriptions/{sold.pk}/seats"
    body = {"seats": 3, "reason": "new hires"}

    first, again = admin.post(path, body, key="s1"), admin.post(path, body, key="s1")

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.json()["settled_at"] is not None
    assert Invoice.objects.latest("id").total_minor == 3_600  # 18 of 30 days
    assert [row["seats"] for row in admin.get(path).json()["data"]] == [3, 5]
    assert admin.post(path, {"seats": -8}, key="s2").status_code == 201
    # 8 x 18 of 30 days x 20.00
    assert sum(note.total_minor for note in CreditNote.objects.all()) == 9_600


def test_bad_changes_of_seats_say_what_is_left(sold: Subscription, admin: Api) -> None:
    path = f"subscriptions/{sold.pk}/seats"

    too_few = admin.post(path, {"seats": -6}, key="a")
    assert too_few.status_code == 409
    assert "there would be -1 seats from" in _detail(too_few)
    assert admin.post(path, {"seats": 0}, key="b").status_code == 422
    assert admin.post(path, {"seats": "many"}, key="c").status_code in (400, 422)
    assert admin.post(path, {"seats": 1}).status_code == 400  # No key.
    assert admin.post("subscriptions/999/seats", {"seats": 1}, key="d").status_code == 404
    assert SeatChange.objects.count() == 1


def test_an_expired_coupon_is_refused_with_its_end(
    shop: Shop, sold: Subscription, admin: Api
) -> None:
    terms = CouponTerms("OLD", "Old", ("recurring",), LAUNCH, percent=Decimal(10), expires_at=START)
    coupon = propose_coupon(terms=terms, proposal=words(LAUNCH), by=shop.maker, at=LAUNCH)
    approve(change=coupon.policy_change, by=shop.approver, reason="campaign", at=LAUNCH)

    answer = admin.post(f"subscriptions/{sold.pk}/coupons", {"code": "old"}, key="a")

    assert (answer.status_code, answer.json()["code"]) == (409, "coupon_expired")
    assert "coupon OLD expired at 2026-10-21" in _detail(answer)
    assert admin.get(f"subscriptions/{sold.pk}/coupons").json()["data"] == []


def test_an_outcome_is_reported_decided_and_listed(sold: Subscription, admin: Api) -> None:
    body = {
        "customer": "acme", "outcome": "resolved", "identifier": "t-1",
        "occurred_at": (START + DAY).isoformat(),
    }  # fmt: skip
    reporter = Api("events:write")

    first = reporter.post("outcomes", body, key="o1")
    again = reporter.post("outcomes", body, key="o2")
    assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert (first.json()["state"], first.json()["price"]) == ("pending", "0.99")

    path = f"outcomes/{first.json()['id']}/decisions"
    decision = {"state": "accepted", "reason": "customer confirmed"}
    assert reporter.post(path, decision, key="d0").status_code == 403
    assert admin.post(path, decision, key="d1").json()["sequence"] == 1
    assert admin.post(path, decision, key="d2").json()["sequence"] == 1
    assert admin.post(path, {"state": "pending", "reason": "x"}, key="d3").status_code in (400, 422)
    assert admin.post(path, {"state": "rejected", "reason": "x"}, key="d4").status_code == 201
    refused = admin.post(path, {"state": "accepted", "reason": "x"}, key="d5")
    assert refused.status_code == 409
    assert "can become nothing any more" in _detail(refused)
    assert len(admin.get(path).json()["data"]) == 2
    assert admin.get("outcomes?customer=acme&state=rejected").json()["data"][0]["identifier"] == (
        "t-1"
    )
    assert Outcome.objects.count() == 1


def test_a_pack_of_the_plan_is_sold_once_a_key(sold: Subscription, admin: Api) -> None:
    path = f"subscriptions/{sold.pk}/packs"

    first, again = (admin.post(path, {"pack": "thousand"}, key="p1") for _ in range(2))

    assert (first.status_code, first.json()["total"]) == (201, "9.00")
    assert again.json()["number"] == first.json()["number"]
    line = Invoice.objects.latest("id").lines.get()
    assert (line.kind, line.quantity) == ("credit_pack", Decimal(1000))
    refused = admin.post(path, {"pack": "million"}, key="p2")
    assert refused.status_code == 409
    assert "sells no pack million: it sells thousand" in _detail(refused)


def test_a_commitment_is_sold_once_for_its_term(sold: Subscription, admin: Api) -> None:
    wanted = {
        "customer": "acme", "amount": "1000", "unit": "credit",
        "price": {"amount": "90.00", "currency": "USD"},
        "start_on": "2026-11-01", "end_on": "2027-11-01",
    }  # fmt: skip

    first, again = (admin.post("commitments", wanted, key="c1") for _ in range(2))

    assert (first.status_code, first.json()["total"]) == (201, "90.00")
    assert again.json()["number"] == first.json()["number"]
    assert Invoice.objects.latest("id").lines.get().kind == "commitment"
    for wrong, status in (
        ({"price": {"amount": "90.00", "currency": "EUR"}}, 422),
        ({"end_on": "2026-11-01"}, 422), ({"end_on": "9999-12-31"}, 422),
        ({"start_on": "9999-12-30", "end_on": "9999-12-31"}, 422), ({"start_on": "soon"}, 422),
        ({"price": {"amount": "0", "currency": "USD"}}, 422), ({"unit": "nothing"}, 404),
    ):  # fmt: skip
        refused = admin.post("commitments", {**wanted, **wrong}, key=f"c{wrong}")
        assert refused.status_code == status, refused.json()


def test_the_preview_tells_what_the_next_period_will_claim(sold: Subscription, admin: Api) -> None:
    seen = admin.get("invoices/preview?customer=acme").json()

    assert (seen["total"], seen["coming_total"]) == ("0.00", "149.00")
    assert [(line["kind"], line["amount"], line["discount"]) for line in seen["coming_lines"]] == [
        ("recurring", "49.00", "0.00"), ("seat", "100.00", "0.00"),
    ]  # fmt: skip
