"""What product proposes about grants, and the rules that give credits every period."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import PolicyChange, User
from credits.burn_order import PRESETS
from credits.models import CreditGrant, CreditPolicy, GrantTerms, RecurringGrant
from credits.services.pausing import pause_recurring_grant, resume_recurring_grant
from credits.services.recurring import (
    create_recurring_grant,
    end_recurring_grant,
    give_recurring_grants,
)
from credits.services.terms import TermsInput, propose_grant_terms
from tests.console.backoffice import (
    action_url,
    client_of,
    page_of,
    person,
    send,
    told,
    url_above_list,
)
from tests.credits.builders import NOVEMBER, Shop, words

pytestmark = pytest.mark.django_db
WORDS = {
    "title": "Half rolls over", "product_requirement": "Less is lost",
    "engineering_note": "Terms only", "reason_code": "retention",
}  # fmt: skip


@pytest.fixture(autouse=True)
def clock(settings: Any, at: datetime) -> None:
    settings.BILLING_CLOCK = at.isoformat()


@pytest.fixture
def terms(shop: Shop) -> GrantTerms:
    """Return approved terms of promotional credits that live 31 days."""
    made = propose_grant_terms(
        code="monthly", terms=TermsInput("promotional", life_days=31),
        proposal=words(NOVEMBER.start), by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(made.policy_change)
    return GrantTerms.objects.get(pk=made.pk)


def rule_of(shop: Shop, terms: GrantTerms, **said: Any) -> RecurringGrant:
    wanted = {"start_at": day(11, 1), "until_at": None, **said}
    return create_recurring_grant(
        customer=shop.customer, terms=terms, pricing_unit=shop.unit, amount=Decimal(10),
        interval_unit="month", reason_code="plan", source_key="test:rule", by=shop.maker,
        at=shop.at, **wanted,
    )  # fmt: skip


def day(month: int, number: int, year: int = 2026) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


def test_terms_are_seen_first_then_proposed(shop: Shop, product: User) -> None:
    client, url = client_of(product), url_above_list(GrantTerms, "new_terms")
    said = {
        **WORDS, "code": "monthly", "category": "included", "life_days": "31",
        "meter_codes": "input", "rollover": "fraction", "rollover_value": "0.5",
    }  # fmt: skip

    seen = send(client, url, **said)
    count = GrantTerms.objects.count()
    done = send(client, url, **said, confirmed="on")

    assert seen.context["form"].errors == {}
    assert "nothing is proposed yet" in seen.context["form"].preview
    assert count == 0
    made = GrantTerms.objects.get()
    assert (made.category, made.life_days, made.meter_codes) == ("included", 31, ["input"])
    assert (made.rollover, made.rollover_value) == ("fraction", Decimal("0.5"))
    assert made.policy_change.proposed_by == product
    assert told(done).startswith("success: Proposed")
    assert done.url.endswith(f"/{made.pk}/change/")


def test_the_next_version_begins_with_what_this_one_says(
    shop: Shop, product: User, terms: GrantTerms
) -> None:
    client, url = client_of(product), action_url(terms, "next_terms")

    send(client, url, **WORDS, priority="20", confirmed="on")
    renamed = send(client, url, **WORDS, code="yearly", confirmed="on")

    newest = GrantTerms.objects.latest("pk")
    assert (newest.code, newest.number, newest.life_days, newest.priority) == ("monthly", 2, 31, 20)
    assert "next version of monthly" in renamed.context["form"].errors["code"][0]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"rollover": "cap"}, "rollover_value"),
        ({"rollover": "fraction", "rollover_value": "2"}, "rollover_value"),
        ({"rollover": "fraction", "rollover_value": "0.5", "life_days": ""}, "life_days"),
        ({"life_days": "99999"}, "life_days"),
        ({"priority": "101"}, "priority"),
        ({"title": ""}, "title"),
    ],
)
def test_a_refused_term_is_named_beside_its_field(
    shop: Shop, product: User, said: dict[str, str], field: str
) -> None:
    wanted = {**WORDS, "code": "monthly", "category": "goodwill", "life_days": "31", **said}

    response = send(
        client_of(product), url_above_list(GrantTerms, "new_terms"), **wanted, confirmed="on"
    )

    assert response.status_code == 422
    assert list(response.context["form"].errors) == [field]
    assert not GrantTerms.objects.exists()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_published_burn_order_is_proposed_by_its_name(
    shop: Shop, product: User, preset: str
) -> None:
    client, url = client_of(product), url_above_list(CreditPolicy, "new_burn_order")

    send(client, url, **WORDS, preset=preset, confirmed="on")

    assert tuple(CreditPolicy.objects.latest("pk").burn_order) == PRESETS[preset].order


def test_a_burn_order_shows_its_effect_first(shop: Shop, product: User) -> None:
    client, url = client_of(product), url_above_list(CreditPolicy, "new_burn_order")

    opened = client.get(url)
    seen = send(client, url, **WORDS, preset="own", own_order="priority, larger_first")

    assert [one.title for one in opened.context["form"].presets() if one.is_in_force] == ["Stripe"]
    form = seen.context["form"]
    assert form.errors == {}
    assert form.effect is not None
    assert CreditPolicy.objects.count() == 1
    assert "the smaller priority, then what expires sooner" in seen.content.decode()


@pytest.mark.parametrize("order", ["", "nonsense", "expiry, expiry"])
def test_an_own_order_that_is_none_is_refused_there(shop: Shop, product: User, order: str) -> None:
    url = url_above_list(CreditPolicy, "new_burn_order")

    response = send(client_of(product), url, **WORDS, preset="own", own_order=order, confirmed="on")

    assert list(response.context["form"].errors) == ["own_order"]
    assert CreditPolicy.objects.count() == 1


def test_credits_of_every_month_show_their_periods_first(
    shop: Shop, support: User, terms: GrantTerms
) -> None:
    client, url = client_of(support), action_url(shop.customer, "give_every_period")
    said = {
        "amount": "10", "terms": terms.pk, "start_at_0": "2026-11-01", "start_at_1": "00:00:00",
        "until_at_0": "2027-01-15", "until_at_1": "00:00:00",
    }  # fmt: skip

    seen = send(client, url, **said)
    count = RecurringGrant.objects.count()
    done = send(client, url, **said, confirmed="on")

    turns = [(turn.begins, turn.is_due) for turn in seen.context["form"].turns]
    assert turns == [
        ("2026-11-01 00:00:00", True),
        ("2026-12-01 00:00:00", False),
        ("2027-01-01 00:00:00", False),
    ]
    assert count == 0
    rule = RecurringGrant.objects.get()
    assert (rule.amount, rule.terms, rule.created_by) == (Decimal(10), terms, support)
    assert told(done).startswith(f"success: {'<a href='}")


def test_a_rule_ends_pauses_and_goes_on_in_its_rhythm(
    shop: Shop, support: User, terms: GrantTerms
) -> None:
    rule = rule_of(shop, terms, until_at=day(6, 1, 2027))
    client = client_of(support)

    paused = send(
        client, action_url(rule, "pause_rule"), from_at_0="2026-11-25", from_at_1="00:00:00",
        resume_at_0="2027-01-10", resume_at_1="00:00:00", reason="on leave",
    )  # fmt: skip
    later = RecurringGrant.objects.latest("pk")
    page = client.get(page_of(rule)).content.decode()
    ended = send(
        client, action_url(later, "end_rule"), until_at_0="2027-03-15", until_at_1="00:00:00",
        reason="left",
    )  # fmt: skip

    rule.refresh_from_db()
    assert rule.until_at == day(11, 25)
    assert (later.start_at, later.until_at) == (day(2, 1, 2027), day(6, 1, 2027))
    assert (later.amount, later.terms, later.interval_unit) == (Decimal(10), terms, "month")
    assert "goes on at 2027-02-01 00:00:00" in told(paused)
    assert page_of(later) in page
    assert action_url(rule, "resume_rule") not in page
    later.refresh_from_db()
    assert later.until_at == day(3, 15, 2027)
    assert told(ended) == f"success: {later} ends at 2027-03-15 00:00:00."


def test_no_period_of_a_pause_is_given_and_none_twice(shop: Shop, terms: GrantTerms) -> None:
    rule = rule_of(shop, terms)
    pause_recurring_grant(
        rule=rule, from_at=day(11, 25), resume_at=day(2, 1, 2027), reason="on leave",
        by=shop.maker, at=shop.at,
    )  # fmt: skip

    for _ in range(2):
        give_recurring_grants(by=shop.maker, at=day(3, 15, 2027))

    begun = CreditGrant.objects.order_by("effective_at").values_list("effective_at", flat=True)
    assert [*begun] == [day(11, 1), day(2, 1, 2027), day(3, 1, 2027)]


def test_a_rule_goes_on_once(shop: Shop, terms: GrantTerms) -> None:
    rule = rule_of(shop, terms)
    said: dict[str, Any] = {"reason": "back", "by": shop.maker, "at": shop.at}
    with pytest.raises(Conflict, match="no end"):
        resume_recurring_grant(rule=rule, from_at=day(12, 1), **said)
    end_recurring_grant(rule=rule, until_at=day(12, 1), reason="leave", by=shop.maker, at=shop.at)

    with pytest.raises(Invalid, match="runs until"):
        resume_recurring_grant(rule=rule, from_at=day(11, 30), **said)
    first = resume_recurring_grant(rule=rule, from_at=day(1, 1, 2027), **said)
    again = resume_recurring_grant(rule=rule, from_at=day(12, 20), **said)
    with pytest.raises(IdempotencyConflict):
        resume_recurring_grant(rule=rule, from_at=day(4, 1, 2027), **said)

    assert again == first
    assert RecurringGrant.objects.count() == 2


def test_a_pause_that_ends_before_it_begins_is_refused(shop: Shop, terms: GrantTerms) -> None:
    rule = rule_of(shop, terms)

    with pytest.raises(Invalid) as caught:
        pause_recurring_grant(
            rule=rule, from_at=day(12, 1), resume_at=day(12, 1), reason="x", by=shop.maker,
            at=shop.at,
        )  # fmt: skip

    rule.refresh_from_db()
    assert caught.value.field == "resume_at"
    assert rule.until_at is None


def test_a_draft_is_kept_once_edited_and_submitted(shop: Shop, product: User) -> None:
    client, url = client_of(product), url_above_list(CreditPolicy, "new_burn_order")
    for _ in range(2):
        kept = send(client, url, **WORDS, preset="orb", as_draft="on")
    draft = PolicyChange.objects.get(status="draft")
    content = {"code": "burn_order", "burn_order": ["expiry", "priority"]}

    damaged = send(client, action_url(draft, "edit_change"), content="{")
    edited = send(client, action_url(draft, "edit_change"), content=json.dumps(content))
    seen = send(client, action_url(draft, "submit_change"))
    submitted = send(client, action_url(draft, "submit_change"), confirmed="on")

    assert told(kept).startswith("success: Kept as a draft")
    assert "no JSON" in damaged.context["form"].errors["content"][0]
    assert damaged.context["form"]["content"].value() == "{"
    assert told(edited) == f"success: Kept: {WORDS['title']}."
    assert "expiry, priority" in seen.context["form"].difference
    assert told(submitted).startswith("success: Submitted")
    draft.refresh_from_db()
    assert draft.status == "submitted"
    policy = CreditPolicy.objects.get(policy_change=draft)
    assert policy.burn_order == ["expiry", "priority"]


def test_nobody_edits_another_s_draft(shop: Shop, product: User) -> None:
    url = url_above_list(CreditPolicy, "new_burn_order")
    send(client_of(product), url, **WORDS, preset="orb", as_draft="on")
    draft = PolicyChange.objects.get(status="draft")

    answer = send(client_of(person("finance_maker")), action_url(draft, "edit_change"), title="X")

    assert told(answer) == "error: Only its proposer does that."
    draft.refresh_from_db()
    assert draft.title == WORDS["title"]


def test_what_would_be_refused_is_no_draft(shop: Shop, product: User) -> None:
    url = url_above_list(CreditPolicy, "new_burn_order")

    answer = send(client_of(product), url, **WORDS, preset="own", own_order="x", as_draft="on")

    assert list(answer.context["form"].errors) == ["own_order"]
    assert not PolicyChange.objects.filter(status="draft").exists()


def test_the_next_version_of_any_rule_is_drafted_from_the_one_in_force(
    shop: Shop, product: User
) -> None:
    client, change = client_of(product), CreditPolicy.objects.get().policy_change
    said = {**WORDS, "content": '{"code": "burn_order", "burn_order": ["priority"]}'}

    shown = client.get(action_url(change, "next_draft")).context["form"]
    for _ in range(2):
        kept = send(client, action_url(change, "next_draft"), **said)

    assert "number" not in json.loads(shown["content"].value())
    assert told(kept).startswith("success: Kept as a draft")
    draft = PolicyChange.objects.get(status="draft")
    assert (draft.kind, draft.proposed_by) == ("credit_policy", product)


def test_a_rule_s_first_version_is_drafted_from_nothing_and_judged_when_submitted(
    shop: Shop, product: User
) -> None:
    client, url = client_of(product), url_above_list(PolicyChange, "new_draft")
    said = {**WORDS, "content": '{"customer": "nobody", "base": "standard", "rates": []}'}

    unchosen = send(client, url, **said)
    send(client, url, **said, kind="rate_override")
    draft = PolicyChange.objects.get(status="draft")
    refused = send(client, action_url(draft, "submit_change"), confirmed="on")

    assert unchosen.context["form"].errors == {"kind": ["Choose one."]}
    assert "nobody" in str(refused.context["form"].non_field_errors())
    draft.refresh_from_db()
    assert draft.status == "draft"
