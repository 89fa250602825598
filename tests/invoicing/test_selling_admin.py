"""A plan sold in the back office: what it claims and grants is shown before it is confirmed."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from invoicing.models import Subscription, SubscriptionChange
from tests.console.backoffice import action_url, client_of, page_of, send, told
from tests.invoicing.builders import DAY, START, Shop, customer_of, sell_plan, subscribed

pytestmark = pytest.mark.django_db

MID = START + 12 * DAY


@pytest.fixture(autouse=True)
def clock(settings: Any) -> None:
    settings.BILLING_CLOCK = MID.isoformat()


def test_a_plan_is_shown_and_then_sold_from_today_on(shop: Shop) -> None:
    version = sell_plan(shop, "larger", fee_minor=9_000, included_credits=Decimal(300))
    customer = customer_of(shop)
    client, url = client_of(shop.maker), action_url(customer, "sell_plan")
    words = {"plan": str(version.pk), "start_day": f"{MID:%Y-%m-%d}"}

    seen = send(client, url, **words).content.decode()

    assert "This is a preview" in seen
    assert "larger v1: 90.00 USD every 30 days, 300 credits included" in seen
    for shown in ("90.00 USD, before tax", "300 granted", "Will be charged"):
        assert shown in seen
    assert not Subscription.objects.exists()

    done = send(client, url, **words, confirmed="on")

    sold = Subscription.objects.get()
    assert f"Sold larger v1 from {MID:%Y-%m-%d} 00:00:00 on" in told(done)
    assert sold.start_at == MID
    assert sold.created_by == shop.maker
    assert url not in client.get(page_of(customer)).content.decode()


def test_a_trial_claims_nothing_before_its_first_paid_day(shop: Shop) -> None:
    version = sell_plan(shop, "larger", fee_minor=9_000)
    customer = customer_of(shop)
    client, url = client_of(shop.maker), action_url(customer, "sell_plan")
    paid = MID + 14 * DAY

    seen = send(
        client, url, plan=str(version.pk), start_day=f"{MID:%Y-%m-%d}",
        trial_until=f"{paid:%Y-%m-%d}",
    ).content.decode()  # fmt: skip

    assert "Customer owes</dt><dd>nothing" in seen
    assert "Will be charged" in seen
    assert "90.00 USD" in seen


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ({"start_day": f"{MID + DAY:%Y-%m-%d}"}, "from today on, or from a day before"),
        ({"trial_until": f"{MID - DAY:%Y-%m-%d}"}, "a trial ends after it begins"),
        ({"seats": "3"}, "sells no such seats"),
        ({"coupon": "NONE"}, "no coupon"),
        ({"start_day": "yesterday"}, "Enter a valid date"),
    ],
)
def test_what_cannot_be_sold_is_refused_beside_its_field(
    shop: Shop, said: dict[str, str], refusal: str
) -> None:
    version = sell_plan(shop, "larger", fee_minor=9_000)
    url = action_url(customer_of(shop), "sell_plan")

    seen = send(client_of(shop.maker), url, plan=str(version.pk), **said, confirmed="on")

    assert refusal in seen.content.decode()
    assert not Subscription.objects.exists()


def test_a_pause_is_scheduled_for_a_day_and_ended_by_another(shop: Shop) -> None:
    sold = subscribed(shop)
    client = client_of(shop.maker)
    pause, resume = action_url(sold, "pause"), action_url(sold, "resume")
    first, last = MID + 5 * DAY, MID + 9 * DAY

    send(client, pause, when="day", day=f"{first:%Y-%m-%d}", reason="fair", confirmed="on")
    again = send(client, pause, when="now", day=f"{last:%Y-%m-%d}", reason="x", confirmed="on")
    none = send(client, pause, when="day", reason="x", confirmed="on")
    send(client, resume, when="day", day=f"{last:%Y-%m-%d}", reason="over", confirmed="on")

    assert "or leave the day empty" in again.content.decode()
    assert "Say which day." in none.content.decode()
    made = SubscriptionChange.objects.order_by("id").values_list("kind", "effective_at")
    assert list(made) == [("pause", first), ("resume", last)]
    assert last - first == timedelta(days=4)


def test_a_change_in_a_period_to_come_shows_what_it_gives_back_of_that(shop: Shop) -> None:
    sold = subscribed(shop)  # 49.00 for every 30 days.
    client, first = client_of(shop.maker), START + 45 * DAY

    seen = send(
        client, action_url(sold, "pause"), when="day", day=f"{first:%Y-%m-%d}", reason="winter"
    ).content.decode()  # fmt: skip

    assert "15 of 30 days x 49.00" in seen
    assert "24.50 USD less" in seen
    assert "24.50 USD deferred is not earned any more" in seen
    assert not SubscriptionChange.objects.exists()


def test_a_change_that_is_too_far_to_be_shown_says_so(shop: Shop) -> None:
    sold = subscribed(shop)

    seen = send(
        client_of(shop.maker), action_url(sold, "pause"), when="day", reason="one day",
        day=f"{START + 9 * 365 * DAY:%Y-%m-%d}",
    ).content.decode()  # fmt: skip

    assert "only while at most 40 periods begin before it" in seen
