"""Seats and coupons in the back office: each shows its effect, and is done once confirmed."""

from decimal import Decimal
from typing import Any

import pytest

from billing_project.kernel.approvals import approve
from invoicing.items import Item
from invoicing.models import CouponRedemption, Invoice, SeatChange, Subscription
from invoicing.services.coupons import CouponTerms, propose_coupon
from invoicing.services.invoices import finalize_due
from invoicing.services.subscriptions import subscribe
from tests.console.backoffice import action_url, client_of, page_of, send, told
from tests.invoicing.builders import DAY, LAUNCH, START, Shop, customer_of, sell_plan, words

pytestmark = pytest.mark.django_db

MID = START + 12 * DAY


@pytest.fixture(autouse=True)
def clock(settings: Any) -> None:
    settings.BILLING_CLOCK = MID.isoformat()


def _team(shop: Shop) -> Subscription:
    version = sell_plan(shop, "team", items=(Item("seat", "seats", "Team seats", 2_000),))
    sold = subscribe(
        customer=customer_of(shop), plan_version=version, start_at=START, by=shop.maker,
        at=START, seats=5,
    )  # fmt: skip
    finalize_due(by=shop.worker, at=START)
    return sold


def test_seats_show_what_they_cost_and_are_added_once_confirmed(shop: Shop) -> None:
    sold = _team(shop)
    client, url = client_of(shop.maker), action_url(sold, "change_seats")
    asked = {"seats": "3", "effective_at_0": "2026-11-02", "effective_at_1": "00:00:00",
             "reason": "grew"}  # fmt: skip

    seen = send(client, url, **asked)

    text = seen.content.decode()
    for found in ("This is a preview", "36.00 USD more, before tax", "18 of 30 days"):
        assert found in text
    assert Invoice.objects.count() == 1
    done = send(client, url, **asked, confirmed="on")
    assert told(done) == "success: +3 seats from 2026-11-02 00:00:00 on."
    assert SeatChange.objects.latest("id").seats == 3
    assert Invoice.objects.latest("id").total_minor == 3_600
    fewer = send(client, url, **{**asked, "seats": "-9"}, confirmed="on")
    assert fewer.context["form"].errors["seats"]
    assert SeatChange.objects.latest("id").seats == 3


def test_a_plan_without_seats_has_no_button_for_them(shop: Shop) -> None:
    version = sell_plan(shop)
    sold = subscribe(
        customer=customer_of(shop), plan_version=version, start_at=START, by=shop.maker, at=START
    )
    page = client_of(shop.maker).get(page_of(sold)).content.decode()

    assert action_url(sold, "change_seats") not in page
    assert action_url(sold, "redeem") in page


def test_a_coupon_shows_the_next_period_and_is_redeemed_once_confirmed(shop: Shop) -> None:
    sold = _team(shop)
    coupon = propose_coupon(
        terms=CouponTerms(
            code="LAUNCH20", name="Launch", kinds=("recurring", "seat"), starts_at=LAUNCH,
            percent=Decimal(20), periods=2,
        ),
        proposal=words(LAUNCH), by=shop.maker, at=LAUNCH,
    )  # fmt: skip
    client, url = client_of(shop.maker), action_url(sold, "redeem")

    early = send(client, url, code="LAUNCH20").content.decode()
    assert "is not approved" in early
    approve(change=coupon.policy_change, by=shop.approver, reason="campaign", at=LAUNCH)
    seen = send(client, url, code="LAUNCH20")

    text = seen.content.decode()
    for found in ("20 % of recurring, seat", "29.80 USD less, before tax", "2 periods"):
        assert found in text
    assert not CouponRedemption.objects.exists()
    done = send(client, url, code="LAUNCH20", confirmed="on")
    assert told(done).startswith("success: LAUNCH20 lowers claims from 2026-11-20")
    assert CouponRedemption.objects.count() == 1
    assert "no coupon" in send(client, url, code="NONE").content.decode().lower()
