"""What support and finance do to grants in the back office."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from billing_project.kernel.models import User
from credits.admin.grants import state_of
from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from tests.console.backoffice import action_url, client_of, list_of, page_of, send, told
from tests.credits.builders import Shop

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock(settings: Any, at: datetime) -> None:
    settings.BILLING_CLOCK = at.isoformat()


@pytest.mark.parametrize(
    ("action", "kind", "words"),
    [("void", LedgerKind.VOIDED, "Voided"), ("expire", LedgerKind.EXPIRED, "Expired")],
)
def test_what_is_left_of_a_grant_ends(
    shop: Shop, support: User, action: str, kind: str, words: str
) -> None:
    grant = shop.grant("1200.5")

    response = send(client_of(support), action_url(grant, action), reason_code="entered_by_mistake")

    grant.refresh_from_db()
    taken = LedgerTransaction.objects.get(grant=grant, kind=kind)
    assert grant.remaining == 0
    assert (taken.credits, taken.recorded_by) == (Decimal("-1200.5"), support)
    assert taken.reason_code == "entered_by_mistake"
    assert told(response).startswith(f"success: {words} 1,200.5 credit of promotional grant")


def test_a_grant_that_is_used_up_offers_no_end(shop: Shop, support: User) -> None:
    grant = shop.grant("10")
    client = client_of(support)
    send(client, action_url(grant, "void"), reason_code="duplicate")

    page = client.get(page_of(grant)).content.decode()

    assert action_url(grant, "void") not in page
    assert action_url(grant, "expire") not in page


@pytest.mark.parametrize(
    ("starts_in", "ends_in", "end", "state", "offered"),
    [
        (1, 30, "", "waiting", ["void"]),
        (-1, 30, "", "in force", ["void", "expire"]),
        (-2, -1, "", "expired", []),  # Its end is entered by the worker.
        (-1, None, "void", "voided", []),
        (-1, None, "expire", "expired", []),
    ],
)
def test_a_grant_shows_its_state_and_offers_what_can_work(
    shop: Shop,
    support: User,
    at: datetime,
    starts_in: int,
    ends_in: int | None,
    end: str,
    state: str,
    offered: list[str],
) -> None:
    expires_at = None if ends_in is None else at + timedelta(days=ends_in)
    effective_at = at + timedelta(days=starts_in)
    grant = shop.grant("10", effective_at=effective_at, expires_at=expires_at)
    client = client_of(support)
    if end:
        send(client, action_url(grant, end), reason_code="duplicate")

    page = client.get(page_of(grant)).content.decode()

    assert f">{state}</span>" in page
    assert f">{state}</span>" in client.get(list_of(CreditGrant)).content.decode()
    assert [name for name in ("void", "expire") if action_url(grant, name) in page] == offered


def test_a_grant_without_credits_that_nobody_took_back_is_used_up(at: datetime) -> None:
    grant = CreditGrant(remaining=Decimal(0), effective_at=at)

    assert state_of(grant, LedgerKind.DRAWN, at) == "used up"


def test_the_form_s_scripts_find_their_words(shop: Shop, support: User) -> None:
    page = client_of(support).get(action_url(shop.customer, "grant_credits")).content.decode()

    words, widget = page.index(reverse("admin:jsi18n")), page.index("DateTimeShortcuts")
    assert words < widget
    assert "Credits lapse at 00:00 UTC of this day" in page


def test_a_double_click_voids_once(shop: Shop, support: User) -> None:
    grant = shop.grant("10")
    client, url = client_of(support), action_url(grant, "void")

    for _ in range(2):
        assert send(client, url, reason_code="duplicate").status_code == 302

    assert LedgerTransaction.objects.filter(kind=LedgerKind.VOIDED).count() == 1


def test_a_reason_that_is_not_offered_is_refused(shop: Shop, support: User) -> None:
    grant = shop.grant("10")

    response = send(client_of(support), action_url(grant, "void"), reason_code="because")

    assert response.status_code == 422
    assert CreditGrant.objects.get().remaining == 10


def test_support_gives_credits_once_for_a_double_click(
    shop: Shop, support: User, at: datetime
) -> None:
    client, url = client_of(support), action_url(shop.customer, "grant_credits")
    form = client.get(url).context["form"]
    sent = {
        "nonce": form["nonce"].value(),
        "pricing_unit": shop.unit.pk,
        "amount": "500.25",
        "category": "goodwill",
        "reason_code": "service_failure",
        "expires_on": "2026-12-31",
    }

    answers = [client.post(url, sent) for _ in range(2)]

    grant = CreditGrant.objects.get()
    assert [answer.status_code for answer in answers] == [302, 302]
    assert (grant.amount, grant.category, grant.price_minor) == (Decimal("500.25"), "goodwill", 0)
    assert (grant.effective_at, grant.created_by) == (at, support)
    assert grant.expires_at is not None
    assert grant.expires_at.isoformat() == "2026-12-31T00:00:00+00:00"


def test_other_credits_under_the_same_nonce_are_refused(shop: Shop, support: User) -> None:
    client, url = client_of(support), action_url(shop.customer, "grant_credits")
    form = client.get(url).context["form"]
    sent = {
        "nonce": form["nonce"].value(), "pricing_unit": shop.unit.pk, "amount": "5",
        "category": "promotional", "reason_code": "trial",
    }  # fmt: skip
    client.post(url, sent)

    answer = client.post(url, {**sent, "amount": "50"})

    assert answer.status_code == 422
    assert told(answer).startswith("error: ")
    assert answer.context["form"]["amount"].value() == "50"
    assert CreditGrant.objects.get().amount == 5


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "1e400", "0.0000000000001", "9" * 40, "x"])
def test_an_amount_that_is_none_gives_nothing(shop: Shop, support: User, amount: str) -> None:
    response = send(client_of(support), action_url(shop.customer, "grant_credits"), amount=amount)

    assert response.status_code == 422
    assert not CreditGrant.objects.exists()


def test_a_grant_that_would_end_before_it_starts_is_refused_with_its_words(
    shop: Shop, support: User
) -> None:
    response = send(
        client_of(support),
        action_url(shop.customer, "grant_credits"),
        amount="5",
        expires_on="2020-01-01",
    )

    assert told(response) == "error: a grant expires after it becomes effective"
    assert response.context["form"]["expires_on"].value() == "2020-01-01"
    assert not CreditGrant.objects.exists()
