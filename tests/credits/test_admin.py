"""What support and finance do to grants in the back office."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from billing_project.kernel.models import AuditEntry, PolicyChange, User
from credits.admin.grant_ends import MoveForm
from credits.admin.grants import state_of
from credits.models import (
    ClawBack,
    CreditGrant,
    CreditPolicy,
    LedgerKind,
    LedgerTransaction,
)
from credits.services.stored_value import refuse_stored_value
from tests.console.backoffice import (
    action_url,
    client_of,
    list_of,
    looked_at,
    page_of,
    person,
    send,
    told,
)
from tests.credits.builders import Shop

pytestmark = pytest.mark.django_db
WORDS = {
    "title": "Let credits move", "product_requirement": "Asked for",
    "engineering_note": "Nothing is built", "reason_code": "asked",
}  # fmt: skip


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

    response = send(
        client_of(support),
        action_url(grant, action),
        reason_code="entered_by_mistake",
        confirmed=True,
    )

    grant.refresh_from_db()
    taken = LedgerTransaction.objects.get(grant=grant, kind=kind)
    assert grant.remaining == 0
    assert (taken.credits, taken.recorded_by) == (Decimal("-1200.5"), support)
    assert taken.reason_code == "entered_by_mistake"
    assert told(response).startswith(f"success: {words} 1,200.5 credit of promotional grant")


def test_a_grant_that_is_used_up_offers_no_end(shop: Shop, support: User) -> None:
    grant = shop.grant("10")
    client = client_of(support)
    send(client, action_url(grant, "void"), reason_code="duplicate", confirmed=True)

    page = client.get(page_of(grant)).content.decode()

    assert action_url(grant, "void") not in page
    assert action_url(grant, "expire") not in page


@pytest.mark.parametrize(
    ("starts_in", "ends_in", "end", "state", "offered"),
    [
        (1, 30, "", "waiting", ["void"]),
        (-1, 30, "", "in force", ["void", "expire"]),
        (-2, -1, "", "expired", []),  # Its end is entered by the worker.
        (-1, None, "void", "voided", ["reinstate"]),
        (-1, None, "expire", "expired", ["reinstate"]),
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
        send(client, action_url(grant, end), reason_code="duplicate", confirmed=True)

    page = client.get(page_of(grant)).content.decode()

    assert f">{state}</span>" in page
    assert f">{state}</span>" in client.get(list_of(CreditGrant)).content.decode()
    names = ("void", "expire", "reinstate", "claw_back")
    assert [name for name in names if action_url(grant, name) in page] == offered


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
        assert send(client, url, reason_code="duplicate", confirmed=True).status_code == 302

    assert LedgerTransaction.objects.filter(kind=LedgerKind.VOIDED).count() == 1


def test_a_reason_that_is_not_offered_is_refused(shop: Shop, support: User) -> None:
    grant = shop.grant("10")

    response = send(
        client_of(support), action_url(grant, "void"), reason_code="because", confirmed=True
    )

    assert response.status_code == 422
    assert CreditGrant.objects.get().remaining == 10


def test_what_was_voided_by_mistake_comes_back(shop: Shop, support: User) -> None:
    grant = shop.grant("1200.5")
    client = client_of(support)
    send(client, action_url(grant, "void"), reason_code="duplicate", confirmed=True)

    response = send(
        client, action_url(grant, "reinstate"), reason_code="ended_by_mistake", confirmed=True
    )

    grant.refresh_from_db()
    assert grant.remaining == Decimal("1200.5")
    assert told(response).startswith("success: Reinstated 1,200.5 credit of promotional grant")


def _dialog(shop: Shop, support: User) -> tuple[CreditGrant, Any, str]:
    """Return a grant with 30 of 100 used, beside another of 7, and the dialog that voids it."""
    grant = shop.grant("100")
    shop.grant("7")
    shop.use(input="60")  # 60 x 0.5 = 30 of the grant that was given first.
    shop.rate()
    return grant, client_of(support), action_url(grant, "void")


def test_a_dialog_shows_what_is_used_and_left(shop: Shop, support: User) -> None:
    _, client, url = _dialog(shop, support)

    shown = dict(client.get(url).context["form"].facts())

    assert shown["Given"] == "100 credit"
    assert shown["Used, stays used"] == "30 credit"
    assert shown["Left"] == "70 credit"


def test_no_reason_is_chosen_for_anybody(shop: Shop, support: User) -> None:
    grant, client, url = _dialog(shop, support)

    response = send(client, url, confirmed=True)

    assert response.status_code == 422
    assert response.context["form"].errors == {"reason_code": ["Choose one."]}
    assert CreditGrant.objects.get(pk=grant.pk).remaining == 70


def test_one_click_shows_what_stays_and_what_goes_and_does_nothing(
    shop: Shop, support: User
) -> None:
    grant, client, url = _dialog(shop, support)

    response = send(client, url, reason_code="duplicate")

    form = response.context["form"]
    assert [(s.label, s.before, s.after, s.difference) for s in form.shifts] == [
        ("Used, stays used", "30", "30", "0"),
        ("Left of this grant", "70", "0", "-70"),
        ("Customer can use now", "77", "7", "-70"),
    ]
    assert form.said_of == [("Entered in the ledger", "voided, duplicate")]
    assert CreditGrant.objects.get(pk=grant.pk).remaining == 70


def test_what_was_used_between_the_look_and_the_click_is_shown_first(
    shop: Shop, support: User
) -> None:
    grant, client, url = _dialog(shop, support)
    nonce = client.get(url).context["form"]["nonce"].value()
    sent = {"nonce": nonce, "reason_code": "duplicate", "confirmed": "True"}
    sent = looked_at(client, url, sent)
    shop.use(input="20")
    shop.rate()

    response = client.post(url, sent)

    assert response.status_code == 422
    assert response.context["form"].shifts[1].difference == "-60"
    assert CreditGrant.objects.get(pk=grant.pk).remaining == 60
    assert client.post(url, looked_at(client, url, sent)).status_code == 302


def test_a_purchase_is_clawed_back_once_for_a_refund_and_its_dispute(
    shop: Shop, support: User
) -> None:
    grant = shop.grant("100", category="paid", price_minor=900)
    client, url = client_of(support), action_url(grant, "claw_back")

    seen = dict(client.get(url).context["form"].facts())
    looked = send(client, url, reason="refund", reference="re_1")
    first = send(client, url, reason="refund", reference="re_1", confirmed=True)
    second = dict(client.get(url).context["form"].facts())
    send(client, url, reason="dispute", reference="dp_1", confirmed=True)

    assert (seen["Used, stays used"], seen["Left"]) == ("0 credit", "100 credit")
    assert ("Paid for them", "9.00 USD") in looked.context["form"].said_of
    assert told(first).startswith("success: Clawed back 100 credit: ")
    assert second["Known already"] == "refund re_1: this reason takes nothing more"
    refund, dispute = ClawBack.objects.order_by("pk")
    assert (refund.reason, dispute.reason) == ("refund", "dispute")
    assert refund.credits == 100
    assert not dispute.credits
    assert refund.follows is None
    assert dispute.follows == refund


def test_a_grant_s_page_has_its_running_balance_its_picture_and_why(
    shop: Shop, auditor: User
) -> None:
    grant = shop.grant("100", priority=10)
    other = shop.grant("100")
    shop.use(input="60")  # 30 credits.
    shop.rate()
    shop.use(output="10")  # 20 credits.
    shop.rate()

    page = client_of(auditor).get(page_of(grant))

    lines = [(line.credits, line.left) for line in page.context["entries"]]
    assert lines == [("-20", "50"), ("-30", "70"), ("100", "100")]
    assert f"priority 10, before grant {other.pk}: priority 50" in page.context["entries"][0].why
    assert page.context["picture"].top == 100
    text = page.content.decode()
    assert page_of(CreditPolicy.objects.get()) in text
    assert "What was left, over time" in text


def test_a_long_ledger_is_read_in_pages(
    shop: Shop, auditor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credits.selectors.grant_life.PAGE", 1)
    grant = shop.grant("100")
    shop.use(input="60")
    shop.rate()
    client = client_of(auditor)

    pages = [client.get(page_of(grant), {"entries": text}).context for text in ("1", "2", "3", "x")]

    shown = [[line.left for line in page["entries"]] for page in pages]
    assert shown == [["70"], ["100"], [], ["70"]]
    assert [page["life"].has_older for page in pages] == [True, False, False, True]


def test_a_customer_with_a_long_ledger_is_not_explained_entry_by_entry(
    shop: Shop, auditor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credits.selectors.grant_life._MOST_EXPLAINED", 1)
    grant = shop.grant("100")
    shop.use(input="60")
    shop.rate()

    page = client_of(auditor).get(page_of(grant))

    assert [line.why for line in page.context["entries"]] == ["", ""]
    assert "own page says why" in page.content.decode()


def test_asking_to_cash_out_is_noted_refused_and_shown_the_way(shop: Shop, support: User) -> None:
    grant = shop.grant("10")
    client, url = client_of(support), action_url(grant, "move")

    shown = dict(client.get(url).context["form"].facts())
    answer = send(client, url, verb="cash-out")

    assert answer.status_code == 422
    assert told(answer).startswith("error: credits are not stored value: cash-out is not possible")
    noted = AuditEntry.objects.get(action="refuse_stored_value")
    assert (noted.by, noted.facts) == (support, {"verb": "cash-out"})
    assert CreditGrant.objects.get().remaining == 10
    assert "kind=stored_value" in shown["The way"]


def test_the_way_leads_to_a_draft_that_finance_and_legal_both_approve(
    shop: Shop, support: User, product: User
) -> None:
    grant = shop.grant("10")
    [way] = re.findall('href="([^"]+)"', dict(MoveForm(subject=grant).facts())["The way"])
    client, url = client_of(product), unescape(way)

    send(client, url, **WORDS)
    draft = PolicyChange.objects.get(status="draft")
    send(client, action_url(draft, "submit_change"), confirmed="on")
    stages = [_refusal(grant, support)]
    for role in ("finance_approver", "legal"):
        send(client_of(person(role)), action_url(draft, "approve"), reason="fits")
        draft.refresh_from_db()
        stages.append(draft.status)
    stages.append(_refusal(grant, support))

    assert stages == [
        "Policy change stored_value:1 waits for finance and legal", "submitted", "approved",
        "Policy change stored_value:1 is approved, and not built yet",
    ]  # fmt: skip


def _refusal(grant: CreditGrant, by: User) -> str:
    at = grant.created_at
    refused = refuse_stored_value(grant=grant, verb="gift", by=by, at=at)
    return refused.message.partition(" is not possible. ")[2]
