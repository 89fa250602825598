"""What people see before they give credits, and what is given once they confirm it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing_project.kernel.models import AuditEntry, OutboxMessage, User
from credits.models import CreditGrant, GrantTerms
from credits.services.terms import TermsInput, propose_grant_terms
from metering.services.customers import close_customer
from tests.console.backoffice import action_url, client_of, looked_at, person, send, told
from tests.credits.builders import NOVEMBER, Shop, make_customer, words

pytestmark = pytest.mark.django_db
GIVE, SOLD = "grant_credits", "grant_paid"


@pytest.fixture(autouse=True)
def clock(settings: Any, at: datetime) -> None:
    settings.BILLING_CLOCK = at.isoformat()


def give(user: User, shop: Shop, action: str = GIVE, **fields: object) -> Any:
    said = {"reason_code": "goodwill", **fields}
    return send(client_of(user), action_url(shop.customer, action), **said)


def terms_of(shop: Shop, **said: Any) -> GrantTerms:
    """Let terms govern."""
    wanted = {"category": "goodwill", "priority": 10, "life_days": 30, **said}
    terms = propose_grant_terms(
        code="sorry", terms=TermsInput(**wanted), proposal=words(NOVEMBER.start), by=shop.maker,
        at=shop.at,
    )  # fmt: skip
    shop.approve(terms.policy_change)
    return terms


def test_a_grant_is_seen_first_with_the_balance_and_its_turn(
    shop: Shop, support: User, at: datetime
) -> None:
    earlier = shop.grant("100", priority=60)
    counts = (AuditEntry.objects.count(), OutboxMessage.objects.count())

    seen = give(support, shop, amount="500.25", category="goodwill")

    assert seen.status_code == 422
    form = seen.context["form"]
    assert form.errors == {}
    assert "nothing is done yet" in form.preview
    [shift] = form.shifts
    assert (shift.before, shift.after, shift.difference) == ("100", "600.25", "+500.25")
    assert [(turn.is_new, turn.left) for turn in form.turns] == [(True, "500.25"), (False, "100")]
    assert CreditGrant.objects.get() == earlier
    assert counts == (AuditEntry.objects.count(), OutboxMessage.objects.count())
    text = seen.content.decode()
    assert "this one" in text
    assert 'value="500.25"' in text  # The form keeps what was said.


def test_credits_are_given_once_for_a_double_click(shop: Shop, support: User, at: datetime) -> None:
    client, url = client_of(support), action_url(shop.customer, GIVE)
    form = client.get(url).context["form"]
    sent = {
        "nonce": form["nonce"].value(), "pricing_unit": shop.unit.pk, "amount": "500.25",
        "category": "goodwill", "reason_code": "service_failure", "expires_on": "2026-12-31",
        "effective_at_0": f"{at:%Y-%m-%d}", "effective_at_1": f"{at:%H:%M:%S}", "confirmed": "on",
    }  # fmt: skip

    sent = looked_at(client, url, sent)
    answers = [client.post(url, sent) for _ in range(2)]

    grant = CreditGrant.objects.get()
    assert [answer.status_code for answer in answers] == [302, 302]
    assert (grant.amount, grant.category, grant.price_minor) == (Decimal("500.25"), "goodwill", 0)
    assert (grant.effective_at, grant.created_by) == (at, support)
    assert grant.expires_at is not None
    assert grant.expires_at.isoformat() == "2026-12-31T00:00:00+00:00"


def test_a_double_click_a_second_apart_is_one_grant(
    shop: Shop, support: User, at: datetime, settings: Any
) -> None:
    client, url = client_of(support), action_url(shop.customer, GIVE)
    form = client.get(url).context["form"]
    begins = form["effective_at"].value()
    sent = {
        "nonce": form["nonce"].value(), "pricing_unit": shop.unit.pk, "amount": "5",
        "category": "goodwill", "reason_code": "trial", "confirmed": "on",
        "effective_at_0": f"{begins:%Y-%m-%d}", "effective_at_1": f"{begins:%H:%M:%S}",
    }  # fmt: skip
    sent = looked_at(client, url, sent)
    client.post(url, sent)
    settings.BILLING_CLOCK = (at + timedelta(seconds=1)).isoformat()

    again = client.post(url, sent)

    assert again.status_code == 302
    assert CreditGrant.objects.count() == 1


def test_what_was_not_shown_is_not_confirmed_but_shown(shop: Shop, support: User) -> None:
    client, url = client_of(support), action_url(shop.customer, GIVE)
    said = {
        "nonce": client.get(url).context["form"]["nonce"].value(), "pricing_unit": shop.unit.pk,
        "amount": "5", "category": "goodwill", "reason_code": "trial", "confirmed": "on",
        "effective_at_0": "2026-11-20", "effective_at_1": "12:00:00",
    }  # fmt: skip
    sent = looked_at(client, url, said)

    other = client.post(url, {**sent, "amount": "50"})
    unseen = client.post(url, {**sent, "seal": ""})
    count = CreditGrant.objects.count()
    shown = other.context["form"]
    done = client.post(url, {**sent, "amount": "50", "seal": shown["seal"].value()})

    for answer in (other, unseen):
        form = answer.context["form"]
        assert (answer.status_code, form.errors) == (422, {})
        assert form.preview.startswith("What you confirmed is not what was shown before")
        assert not form["confirmed"].value()
    assert shown.shifts[0].difference == "+50"
    assert count == 0
    assert done.status_code == 302
    assert CreditGrant.objects.get().amount == 50


def test_other_credits_under_the_same_nonce_are_refused(shop: Shop, support: User) -> None:
    client, url = client_of(support), action_url(shop.customer, GIVE)
    nonce = client.get(url).context["form"]["nonce"].value()
    said = {"nonce": nonce, "category": "promotional", "reason_code": "trial", "confirmed": "on"}
    send(client, url, **said, amount="5")

    answer = send(client, url, **said, amount="50")

    assert answer.status_code == 422
    assert "issued another grant" in str(answer.context["form"].non_field_errors())
    assert answer.context["form"]["amount"].value() == "50"
    assert CreditGrant.objects.get().amount == 5


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "1e400", "0.0000000000001", "9" * 40, "x"])
def test_an_amount_that_is_none_gives_nothing(shop: Shop, support: User, amount: str) -> None:
    response = give(support, shop, amount=amount, category="goodwill", confirmed="on")

    assert response.status_code == 422
    assert "amount" in response.context["form"].errors
    assert not CreditGrant.objects.exists()


@pytest.mark.parametrize(
    ("said", "field", "fault"),
    [
        ({"category": ""}, "category", "choose a category, or terms"),
        ({"expires_on": "2020-01-01"}, "expires_on", "expires after it becomes effective"),
        ({"expires_on": "2090-01-01"}, "expires_on", "within ten years"),
        ({"priority": "101"}, "priority", "less than or equal to 100"),
        ({"meters": "nothing"}, "meters", "not one of the available"),
    ],
)
def test_a_refusal_stands_beside_its_field_and_the_form_keeps_its_words(
    shop: Shop, support: User, said: dict[str, str], field: str, fault: str
) -> None:
    wanted = {"amount": "5", "category": "goodwill", "confirmed": "on"}

    response = give(support, shop, **{**wanted, **said})

    form = response.context["form"]
    assert fault in form.errors[field][0]
    assert form["amount"].value() == "5"
    assert form.preview == ""
    assert not CreditGrant.objects.exists()


def test_a_scope_and_a_priority_are_kept(shop: Shop, product: User, at: datetime) -> None:
    workspace = shop.workspace("prod")
    make_customer("beta", shop.maker, at)

    give(
        product, shop, amount="5", category="included", workspace=workspace.pk, meters="input",
        priority="0", name="Welcome", confirmed="on",
    )  # fmt: skip

    grant = CreditGrant.objects.get()
    assert (grant.workspace, grant.meter_codes, grant.priority) == (workspace, ["input"], 0)
    assert (grant.category, grant.name, grant.created_by) == ("included", "Welcome", product)


def test_another_customer_s_workspace_is_not_offered(
    shop: Shop, support: User, at: datetime
) -> None:
    workspace = shop.workspace("prod")
    beta = make_customer("beta", shop.maker, at)

    response = send(
        client_of(support), action_url(beta, GIVE), amount="5", category="goodwill",
        workspace=workspace.pk, confirmed="on",
    )  # fmt: skip

    assert "workspace" in response.context["form"].errors


def test_terms_say_category_life_priority_and_meters(
    shop: Shop, support: User, at: datetime
) -> None:
    terms = terms_of(shop, meter_codes=("input",))

    seen = give(support, shop, amount="5", terms=terms.pk)
    give(support, shop, amount="5", terms=terms.pk, confirmed="on")

    assert ("Category", "goodwill") in seen.context["form"].said_of
    grant = CreditGrant.objects.get()
    assert (grant.terms, grant.category, grant.priority) == (terms, "goodwill", 10)
    assert (grant.meter_codes, grant.expires_at) == (["input"], at + timedelta(days=30))


@pytest.mark.parametrize(
    "said",
    [
        {"category": "promotional"},
        {"priority": "50"},
        {"meters": "input"},
        {"expires_on": "2026-12-31"},
    ],
)
def test_what_terms_say_is_not_said_otherwise(
    shop: Shop, support: User, said: dict[str, str]
) -> None:
    terms = terms_of(shop)

    response = give(support, shop, amount="5", terms=terms.pk, confirmed="on", **said)

    [field] = said
    assert response.context["form"].errors[field] == ["sorry v1 says this: leave it empty"]
    assert not CreditGrant.objects.exists()


def test_only_the_version_of_terms_that_governs_is_offered(shop: Shop, support: User) -> None:
    first = terms_of(shop)
    second = terms_of(shop, life_days=60)
    paid = propose_grant_terms(
        code="pack", terms=TermsInput(category="paid"), proposal=words(NOVEMBER.start),
        by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(paid.policy_change)

    form = client_of(support).get(action_url(shop.customer, GIVE)).context["form"]
    old = give(support, shop, amount="5", terms=first.pk)

    assert [*form.fields["terms"].queryset] == [second]
    assert "terms" in old.context["form"].errors


def test_credits_that_begin_later_show_both_balances(
    shop: Shop, support: User, at: datetime
) -> None:
    shop.grant("10")

    seen = give(
        support, shop, amount="5", category="goodwill",
        effective_at_0="2026-12-24", effective_at_1="00:00:00",
    )  # fmt: skip

    shifts = [(one.label, one.before, one.after) for one in seen.context["form"].shifts]
    assert shifts == [
        ("Available now", "10", "10"),
        ("Available at 2026-12-24 00:00:00", "10", "15"),
    ]


def test_credits_paid_elsewhere_have_their_price(shop: Shop) -> None:
    maker = person("finance_maker")

    seen = give(maker, shop, SOLD, amount="1000", price="90")
    give(maker, shop, SOLD, amount="1000", price="90", confirmed="on")

    assert ("One credit cost", "0.09 USD") in seen.context["form"].said_of
    grant = CreditGrant.objects.get()
    assert (grant.category, grant.price_minor, grant.currency) == ("paid", 9000, "USD")


def test_paid_credits_without_a_price_are_refused(shop: Shop) -> None:
    response = give(person("finance_maker"), shop, SOLD, amount="10", price="0", confirmed="on")

    assert response.context["form"].errors["price"] == ["paid credits have a price above 0"]


def test_support_records_no_paid_credits(shop: Shop, support: User) -> None:
    answer = client_of(support).get(action_url(shop.customer, SOLD))

    assert answer.status_code == 403


def test_a_closed_customer_gets_nothing_and_the_page_says_why(
    shop: Shop, support: User, at: datetime
) -> None:
    close_customer(customer=shop.customer, by=shop.maker, at=at, reason="left")

    response = give(support, shop, amount="5", category="goodwill", confirmed="on")

    assert "is closed" in str(response.context["form"].non_field_errors())
    assert not CreditGrant.objects.exists()


def test_support_closes_and_reopens_a_customer_with_a_reason(shop: Shop, support: User) -> None:
    client, customer = client_of(support), shop.customer

    silent = send(client, action_url(customer, "close_customer"), reason="")
    closed = send(client, action_url(customer, "close_customer"), reason="asked to leave")
    customer.refresh_from_db()
    since = customer.closed_at
    opened = send(client, action_url(customer, "reopen_customer"), reason="came back")
    customer.refresh_from_db()

    assert silent.status_code == 422
    assert told(closed) == "success: Closed acme."
    assert since is not None
    assert told(opened) == "success: Reopened acme."
    assert customer.closed_at is None
    reasons = AuditEntry.objects.filter(action__endswith="_customer").order_by("pk")
    assert [entry.reason for entry in reasons][-2:] == ["asked to leave", "came back"]
