"""Changes of subscriptions in the back office: nothing happens before it is confirmed."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from invoicing.models import CreditNote, Subscription, SubscriptionChange
from invoicing.services.invoices import finalize_due
from tests.console.backoffice import action_url, client_of, page_of, send, told
from tests.invoicing.builders import DAY, START, Shop, sell_plan, subscribed

pytestmark = pytest.mark.django_db

MID = START + 12 * DAY


@pytest.fixture(autouse=True)
def clock(settings: Any) -> None:
    settings.BILLING_CLOCK = MID.isoformat()


def test_an_upgrade_shows_its_effect_and_is_made_once_confirmed(shop: Shop) -> None:
    sold = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    larger = sell_plan(shop, "larger", fee_minor=9_000, included_credits=Decimal(300))
    client, url = client_of(shop.maker), action_url(sold, "change_plan")
    words = {"plan": str(larger.pk), "when": "now", "reason": "grew"}

    seen = send(client, url, **words)

    text = seen.content.decode()
    assert "This is a preview" in text
    for shown in ("18 of 30 days x 49.00", "18 of 30 days x 90.00", "24.60 USD more",
                  "120 granted", "29.40 USD deferred is not earned any more"):  # fmt: skip
        assert shown in text
    assert not SubscriptionChange.objects.exists()

    done = send(client, url, **words, confirmed="on")

    assert told(done) == (f"success: Plan of subscription {sold.pk}, from 2026-11-02 00:00:00 on.")
    assert CreditNote.objects.get().total_minor == 2_940
    page = client.get(page_of(sold)).content.decode()
    assert "larger v1" in page
    assert action_url(sold, "pause") in page
    assert action_url(sold, "resume") not in page


def test_what_was_confirmed_and_not_shown_only_shows(shop: Shop) -> None:
    sold = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    shown, other = (sell_plan(shop, code, fee_minor=9_000) for code in ("shown", "other"))
    client, url = client_of(shop.maker), action_url(sold, "change_plan")
    seen = send(client, url, plan=str(shown.pk), when="now", reason="grew")
    sent = {field.name: field.value() or "" for field in seen.context["form"]}

    answer = client.post(url, {**sent, "plan": str(other.pk), "confirmed": "on"})

    assert "What you confirmed is not what was shown before" in answer.content.decode()
    assert not SubscriptionChange.objects.exists()


def test_a_phase_may_lead_back_to_the_plan_of_today(shop: Shop) -> None:
    sold = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    other = sell_plan(shop, "other", fee_minor=9_000)
    client, url = client_of(shop.maker), action_url(sold, "change_plan")
    phases = [(other, MID + 2 * DAY), (sold.plan_version, MID + 4 * DAY)]

    for plan, day in phases:
        send(
            client, url, plan=str(plan.pk), when="day", day=f"{day:%Y-%m-%d}", reason="a try",
            confirmed="on",
        )  # fmt: skip

    made = SubscriptionChange.objects.order_by("effective_at")
    assert [one.plan_version for one in made] == [plan for plan, _ in phases]


def test_a_cancellation_at_the_periods_end_is_undone_by_its_button(shop: Shop) -> None:
    sold = subscribed(shop)
    client = client_of(shop.maker)
    send(
        client, action_url(sold, "cancel"), when="period_end", reason="left", confirmed="on",
        credits_unused="on",
    )  # fmt: skip
    change = SubscriptionChange.objects.get()
    assert Subscription.objects.get().ends_at == START + timedelta(days=30)

    done = send(client, action_url(change, "undo"), reason="stays")

    assert told(done) == f"success: Undone: cancel of subscription {sold.pk}."
    assert Subscription.objects.get().ends_at is None
    assert action_url(change, "undo") not in client.get(page_of(change)).content.decode()


def test_a_pause_is_refused_where_the_state_does_not_admit_it(shop: Shop) -> None:
    sold = subscribed(shop)
    client = client_of(shop.maker)

    answer = send(client, action_url(sold, "resume"), when="now", reason="x", confirmed="on")

    assert "is active then: it cannot resume" in answer.content.decode()
    assert not SubscriptionChange.objects.exists()


def test_who_may_not_change_subscriptions_sees_no_buttons(shop: Shop) -> None:
    sold = subscribed(shop)

    page = client_of(shop.approver).get(page_of(sold)).content.decode()

    assert action_url(sold, "cancel") not in page
