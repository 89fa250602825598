"""A proposed burn order, and proposed terms, tell what they would have changed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing_project.kernel.effects import Effect, simulate
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.period import Period
from credits.models import LedgerTransaction
from credits.services.grants import expire_due_grants
from credits.services.policies import propose_credit_policy
from credits.services.terms import TermsInput, issue_under_terms, propose_grant_terms
from metering.models import EventIdentity
from metering.services.adjust import amend_event
from metering.services.aggregate import aggregate_batches
from tests.credits.builders import NOVEMBER, Shop, figures, rate, words

pytestmark = pytest.mark.django_db
OCTOBER = Period(datetime(2026, 10, 1, tzinfo=UTC), NOVEMBER.start)
DAY = timedelta(days=1)


@pytest.fixture
def october(shop: Shop) -> Shop:
    """Return a shop where 100 of 60 promotional and 60 paid credits were used in October.

    What is not paid for burned first: 60, and then 40 that were paid.
    """
    shop.policy(["promotional_first"], OCTOBER.start - DAY)
    shop.version([rate("input", "1")], OCTOBER.start)
    shop.period(OCTOBER)
    life: dict[str, object] = {"effective_at": OCTOBER.start}
    shop.grant("60", **life)
    shop.grant("60", category="paid", price_minor=600, expires_at=NOVEMBER.end, **life)
    shop.grant("500", workspace=shop.workspace("other"), **life)  # Admits none of it.
    shop.use(OCTOBER.start + 20 * DAY, input="50")
    shop.use(OCTOBER.start + 25 * DAY, input="50")
    shop.use(NOVEMBER.start, input="7")  # Of a period that is not over.
    shop.rate()
    return shop


def _effect(change: PolicyChange) -> Effect:
    effect = simulate(change)
    assert effect is not None
    return effect


def _told(effect: Effect) -> list[str]:
    return [f"{row.subject}: {figures(row.before, row.after)} {row.unit}" for row in effect.rows]


def _order(shop: Shop, *keys: str) -> PolicyChange:
    policy = propose_credit_policy(
        burn_order=keys, proposal=words(NOVEMBER.end), by=shop.maker, at=shop.at
    )
    return policy.policy_change


def test_a_burn_order_burns_the_last_period_again(october: Shop) -> None:
    """The paid grant expires, so that an order by expiry burns it first and whole."""
    before = LedgerTransaction.objects.count()

    effect = _effect(_order(october, "expiry"))

    assert _told(effect) == [
        "Other credits used by acme: 60 40 credit", "Paid credits used by acme: 40 60 credit",
    ]  # fmt: skip
    assert (effect.basis, effect.customers, effect.grants) == (
        "Each customer's last ended billing period", 1, 3,
    )  # fmt: skip
    assert LedgerTransaction.objects.count() == before


def test_what_came_back_is_not_burned_again(october: Shop) -> None:
    """Of 100 used, 30 of the second event come back to the paid grant: 60 and 10 stay."""
    second = EventIdentity.objects.order_by("event_id")[1].identifier
    amend_event(
        customer=october.customer, identifier=second, reason="counted twice",
        properties={"model": "small", "input": "20"}, by=october.maker, at=october.at,
    )  # fmt: skip
    aggregate_batches(at=october.at)
    october.rate()

    assert _told(_effect(_order(october, "expiry"))) == [
        "Other credits used by acme: 60 10 credit", "Paid credits used by acme: 10 60 credit",
    ]  # fmt: skip


def test_customers_are_burned_again_all_at_once(
    october: Shop, django_assert_max_num_queries: Any
) -> None:
    order = _order(october, "expiry")

    with django_assert_max_num_queries(7):
        _effect(order)


def test_an_order_that_is_approved_late_tells_what_was_burned_meanwhile(october: Shop) -> None:
    policy = propose_credit_policy(
        burn_order=["expiry"], proposal=words(NOVEMBER.start), by=october.maker, at=october.at
    )

    assert _effect(policy.policy_change).basis == (
        "Each customer's last ended billing period. Since 2026-11-01 00:00 UTC, when it should"
        " begin: 1 draw of 1 customer, made without it and left as made"
    )


def test_an_order_that_burns_the_same_changes_nothing(october: Shop) -> None:
    [one, other] = _effect(_order(october, "promotional_first")).rows

    assert one.difference == other.difference == 0


def test_an_order_is_judged_by_those_only_who_used_credits(shop: Shop) -> None:
    shop.period(OCTOBER)

    effect = _effect(_order(shop, "expiry"))

    assert (effect.rows, effect.customers, effect.grants) == ((), 0, 0)


def test_terms_end_earlier_grants_again(shop: Shop) -> None:
    first = propose_grant_terms(
        code="monthly", terms=TermsInput("included", life_days=30, rollover="cap",
        rollover_value=Decimal(5)), proposal=words(OCTOBER.start - DAY), by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(first.policy_change)
    for number, amount in enumerate(("20", "4")):
        issue_under_terms(
            terms=first, customer=shop.customer, amount=Decimal(amount), pricing_unit=shop.unit,
            reason_code="plan", source_key=f"test:{number}", by=shop.maker, at=shop.at,
            effective_at=OCTOBER.start,
        )  # fmt: skip
    expire_due_grants(by=shop.maker, at=shop.at)

    half = propose_grant_terms(
        code="monthly", terms=TermsInput("included", life_days=30, rollover="fraction",
        rollover_value=Decimal("0.5")), proposal=words(NOVEMBER.end), by=shop.maker, at=shop.at,
    )  # fmt: skip
    effect = _effect(half.policy_change)

    # min(20, 5) + min(4, 5) rolled over; half of 24 would have.
    assert _told(effect) == ["Rolled over for acme: 9 12 credit"]
    assert (effect.customers, effect.grants) == (1, 2)
