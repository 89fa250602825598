"""A recurring grant gives each of its periods once, and none of those when nobody was there."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.errors import Conflict, Invalid
from credits.models import CreditGrant, RecurringGrant
from credits.services.pausing import pause_recurring_grant, resume_recurring_grant
from credits.services.recurring import (
    create_recurring_grant,
    end_recurring_grant,
    give_recurring_grants,
)
from credits.services.terms import TermsInput, issue_under_terms, propose_grant_terms
from metering.services.customers import close_customer, reopen_customer, update_customer
from tests.credits.builders import Shop, words

pytestmark = pytest.mark.django_db
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
DAY, WEEK = timedelta(days=1), timedelta(days=7)


@pytest.fixture
def weekly(shop: Shop) -> RecurringGrant:
    """Return a rule of 10 credits a week, counted from the first Monday in November."""
    terms = propose_grant_terms(
        code="weekly", terms=TermsInput(category="included", life_days=7),
        proposal=words(MONDAY - 4 * WEEK), by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(terms.policy_change)
    terms.refresh_from_db()
    return create_recurring_grant(
        customer=shop.customer, terms=terms, pricing_unit=shop.unit, amount=Decimal(10),
        interval_unit="week", start_at=MONDAY, reason_code="plan", source_key="test:weekly",
        by=shop.maker, at=shop.at,
    )  # fmt: skip


def _move(shop: Shop, time_zone: str) -> None:
    update_customer(
        customer=shop.customer, by=shop.maker, at=shop.at, reason="moved", time_zone=time_zone
    )
    shop.customer.refresh_from_db()


def _give(shop: Shop, at: datetime) -> list[datetime]:
    give_recurring_grants(by=shop.maker, at=at)
    grants = CreditGrant.objects.order_by("rule_period_at")
    return [grant.rule_period_at for grant in grants if grant.rule_period_at]


def test_periods_that_were_missed_are_given_once(shop: Shop, weekly: RecurringGrant) -> None:
    twice = [_give(shop, MONDAY + 2 * WEEK) for _ in range(2)]

    assert twice == [[MONDAY, MONDAY + WEEK, MONDAY + 2 * WEEK]] * 2


def test_a_customer_who_moves_is_not_given_the_same_periods_again(
    shop: Shop, weekly: RecurringGrant
) -> None:
    """Since summer time ended on 25 October, midnight in Vienna is an hour later in UTC."""
    summer = weekly.start_at - 2 * WEEK + timedelta(hours=-2)
    _move(shop, "Europe/Vienna")
    in_vienna = create_recurring_grant(
        customer=shop.customer, terms=weekly.terms, pricing_unit=shop.unit, amount=Decimal(1),
        interval_unit="week", start_at=summer, reason_code="plan", source_key="test:vienna",
        by=shop.maker, at=shop.at,
    )  # fmt: skip
    end_recurring_grant(rule=weekly, until_at=MONDAY, reason="x", by=shop.maker, at=shop.at)
    before = _give(shop, MONDAY + 2 * WEEK)
    _move(shop, "UTC")

    after = _give(shop, MONDAY + 2 * WEEK)
    paused = pause_recurring_grant(
        rule=in_vienna, from_at=MONDAY + 2 * WEEK, resume_at=MONDAY + 3 * WEEK, reason="x",
        by=shop.maker, at=shop.at,
    )  # fmt: skip

    assert after == before
    assert [at.hour for at in after] == [22, 23, 23, 23, 23]
    assert paused.start_at == MONDAY + 4 * WEEK - timedelta(hours=1)
    assert paused.time_zone == "Europe/Vienna"


def test_a_rule_that_was_ended_in_the_past_gives_nothing_twice_when_it_goes_on(
    shop: Shop, weekly: RecurringGrant
) -> None:
    """Three weeks were given; then it ends as of the first, and goes on after the second."""
    words = {"reason": "x", "by": shop.maker, "at": MONDAY + 2 * WEEK}
    given = _give(shop, MONDAY + 2 * WEEK)
    ended = end_recurring_grant(rule=weekly, until_at=MONDAY + DAY, **words)  # type: ignore[arg-type]

    for from_at in (MONDAY + DAY, MONDAY + WEEK + DAY):
        with pytest.raises(Invalid, match="was given before it ended"):
            resume_recurring_grant(rule=ended, from_at=from_at, **words)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="within ten years"):
        resume_recurring_grant(rule=ended, from_at=MONDAY.replace(year=9999), **words)  # type: ignore[arg-type]
    resume_recurring_grant(rule=ended, from_at=MONDAY + 2 * WEEK + DAY, **words)  # type: ignore[arg-type]

    assert _give(shop, MONDAY + 3 * WEEK) == [*given, MONDAY + 3 * WEEK]


def test_a_reopened_customer_gets_nothing_for_the_time_in_between(
    shop: Shop, weekly: RecurringGrant
) -> None:
    who = {"customer": shop.customer, "by": shop.maker, "reason": "test"}
    _give(shop, MONDAY)
    close_customer(at=MONDAY + timedelta(days=1), **who)  # type: ignore[arg-type]
    assert _give(shop, MONDAY + 2 * WEEK) == [MONDAY]
    reopen_customer(at=MONDAY + 3 * WEEK - timedelta(days=1), **who)  # type: ignore[arg-type]

    assert _give(shop, MONDAY + 3 * WEEK) == [MONDAY, MONDAY + 3 * WEEK]


def test_a_rule_that_was_ended_gives_no_period_after(shop: Shop, weekly: RecurringGrant) -> None:
    end_recurring_grant(
        rule=weekly, until_at=MONDAY + WEEK, reason="left", by=shop.maker, at=shop.at
    )

    assert _give(shop, MONDAY + 3 * WEEK) == [MONDAY]


def test_terms_that_expired_give_nothing_more(shop: Shop) -> None:
    terms = propose_grant_terms(
        code="season", terms=TermsInput(category="promotional", life_days=7),
        proposal=words(MONDAY - WEEK, MONDAY + 2 * WEEK), by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(terms.policy_change)
    terms.refresh_from_db()
    create_recurring_grant(
        customer=shop.customer, terms=terms, pricing_unit=shop.unit, amount=Decimal(10),
        interval_unit="week", start_at=MONDAY, reason_code="season", source_key="test:season",
        by=shop.maker, at=shop.at,
    )  # fmt: skip

    assert _give(shop, MONDAY + 3 * WEEK) == [MONDAY, MONDAY + WEEK]
    with pytest.raises(Conflict, match="does not govern"):
        issue_under_terms(
            terms=terms, customer=shop.customer, amount=Decimal(1), pricing_unit=shop.unit,
            reason_code="late", source_key="test:late", by=shop.maker, at=MONDAY + 3 * WEEK,
            effective_at=MONDAY + 2 * WEEK,
        )  # fmt: skip
