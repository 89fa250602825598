"""The page of usage that waits: why, how much, whose; and the banner that leads there."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

import credits.tasks
from billing_project.kernel.approvals import approve
from billing_project.kernel.models import User
from credits.models import UnratedEpisode
from credits.services.rates import RateInput, propose_rate_card_version
from invoicing.models import Subscription
from tests.console.backoffice import client_of, page_of
from tests.console.chain import USED_AT
from tests.invoicing.builders import START, Shop, open_shop, subscribed, use, words

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(db: None, settings: Any) -> Shop:
    """Return a shop with a rate for the model `small` only, from its second day on."""
    settings.BILLING_CLOCK = USED_AT.isoformat()
    shop = open_shop()
    version = propose_rate_card_version(
        rate_card=shop.rate_card,
        rates=[RateInput("output_tokens", {"model": "small"}, Decimal(1))],
        proposal=words(START), by=shop.maker, at=START,
    )  # fmt: skip
    approve(change=version.policy_change, by=shop.approver, reason="margin holds", at=START)
    return shop


@pytest.fixture
def acme(shop: Shop) -> Subscription:
    return subscribed(shop)


def body(user: User, name: str) -> str:
    return client_of(user).get(reverse(name)).content.decode()


def test_a_model_without_a_rate_is_on_the_home_page_and_in_the_list(
    shop: Shop, acme: Subscription, auditor: User
) -> None:
    use(shop, 7, USED_AT, "req-1", model="next")
    credits.tasks.watch_unrated()

    home, listed = body(auditor, "admin:index"), body(auditor, "console:unrated")

    assert "Usage has no rate:</strong> next (output_tokens)." in home
    assert reverse("console:unrated") in home
    assert "model next" in listed
    assert "7 tokens" in listed
    assert page_of(acme.customer) in listed
    assert page_of(UnratedEpisode.objects.get()) in listed
    assert "nobody acknowledged it" in listed


def test_usage_before_the_first_period_says_so_and_raises_no_banner(
    shop: Shop, acme: Subscription, auditor: User
) -> None:
    use(shop, 7, START - timedelta(days=3), "req-1", known_at=USED_AT)
    credits.tasks.watch_unrated()

    assert "No billing period" in body(auditor, "console:unrated")
    assert "Usage has no rate" not in body(auditor, "admin:index")


def test_where_all_is_rated_nothing_is_said(shop: Shop, acme: Subscription, auditor: User) -> None:
    use(shop, 7, USED_AT, "req-1")
    credits.tasks.watch_unrated()

    assert "All usage is rated." in body(auditor, "console:unrated")
    assert "Usage has no rate" not in body(auditor, "admin:index")
