"""Proposed limits, rules and exceptions tell what they would have stopped, or let through."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.backoffice.policies import previous_version
from billing_project.kernel.effects import simulate
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.period import Period
from credits.models import LimitMode, LimitWindow, ModelException, OverdraftMode
from credits.selectors.balances import balance, balance_now
from credits.services.controls import (
    ControlTerms,
    LimitTerms,
    propose_controls,
    propose_spend_limit,
    request_exception,
)
from credits.services.holds import settle_hold
from credits.spend import refused_retries
from tests.credits.builders import NOVEMBER, Shop, figures, words
from tests.credits.test_services_authorizing import NOON, ask, controls, limit

OCTOBER = Period(datetime(2026, 10, 1, tzinfo=UTC), NOVEMBER.start)


def _told(change: PolicyChange) -> list[str]:
    effect = simulate(change)
    assert effect is not None
    return [f"{row.subject}: {figures(row.before, row.after)} {row.unit}" for row in effect.rows]


def _limit(shop: Shop, ceiling: str, window: LimitWindow, **more: object) -> PolicyChange:
    terms = LimitTerms(
        shop.customer, window, LimitMode.HARD, shop.unit, Decimal(ceiling), **more  # type: ignore[arg-type]
    )  # fmt: skip
    proposal = words(NOVEMBER.end)
    return propose_spend_limit(
        code="cap", terms=terms, proposal=proposal, by=shop.maker, at=NOON
    ).policy_change


def _rules(shop: Shop, **terms: object) -> PolicyChange:
    return propose_controls(
        terms=ControlTerms(customer=shop.customer, **terms),  # type: ignore[arg-type]
        proposal=words(NOVEMBER.end), by=shop.maker, at=NOON,
    ).policy_change  # fmt: skip


@pytest.mark.parametrize(("most", "refused"), [(1, 3), (2, 2), (3, 0)])
def test_retries_are_counted_within_the_wait(most: int, refused: int) -> None:
    """Asked for at 0, 10, 20 and 65 seconds, with a wait of 60.

    Before each lie 0, 1, 2 and 2 asks: those at 10 and 20, because 65 - 60 = 5.
    """
    times = [NOON + timedelta(seconds=second) for second in (0, 10, 20, 65)]

    assert refused_retries(times, most, timedelta(seconds=60)) == refused


@pytest.fixture
def used(shop: Shop) -> Shop:
    """Return a shop that used 30, 10 and 25 credits of three days, and 4 today."""
    for day, tokens in ((10, "60"), (11, "20"), (12, "50"), (20, "8")):
        shop.use(datetime(2026, 11, day, 9, tzinfo=UTC), input=tokens)
    shop.rate()
    return shop


@pytest.mark.django_db
def test_a_limit_is_laid_on_the_windows_since_last_month(used: Shop) -> None:
    # Beyond 20 are 10 of the 10th and 5 of the 12th.
    assert _told(_limit(used, "20", LimitWindow.DAY)) == [
        "Credits of acme beyond it: 0 15 credit", "Windows in which acme reached it: 0 2 day",
    ]  # fmt: skip


@pytest.mark.django_db
def test_a_limit_is_compared_with_its_version_in_force(used: Shop) -> None:
    limit(used, "28", LimitWindow.DAY)

    # Of the month: 30 + 10 + 25 + 4 = 69.
    assert _told(_limit(used, "60", LimitWindow.MONTH)) == [
        "Credits of acme beyond it: 2 9 credit", "Windows in which acme reached it: 1 1 month",
    ]  # fmt: skip


@pytest.mark.django_db
def test_a_limit_of_a_workspace_counts_its_usage_only(used: Shop) -> None:
    place = used.workspace("lab")

    assert _told(_limit(used, "1", LimitWindow.DAY, workspace=place))[0].endswith("0 0 credit")


@pytest.mark.django_db
def test_a_limit_by_job_is_laid_on_what_jobs_settled(shop: Shop) -> None:
    shop.grant("100")
    for job, tokens in (("night", "40"), ("night", "20"), ("day", "10")):
        hold = ask(shop, "20", job=job).hold
        assert hold is not None
        settle_hold(hold=hold, identifier=shop.use(input=tokens), at=NOON)

    later = NOON + timedelta(hours=1)
    proposed = propose_spend_limit(
        code="cap", proposal=words(NOVEMBER.end), by=shop.maker, at=later,
        terms=LimitTerms(shop.customer, LimitWindow.JOB, LimitMode.SOFT, shop.unit, Decimal(25)),
    )  # fmt: skip

    # The night's job used 20 + 10, the day's 5.
    assert _told(proposed.policy_change)[0] == "Credits of acme beyond it: 0 5 credit"


@pytest.mark.django_db
def test_rules_are_laid_on_what_was_asked_for_and_owed(used: Shop) -> None:
    used.grant("100")
    for second in (0, 5, 10):
        ask(used, "3", NOON - timedelta(seconds=60 - second), model="big", request="r", job="j")

    told = _told(_rules(used, premium_models=["big"], retry_max=2, retry_seconds=60))

    # All 69 credits are overage: neither the rules in force nor the proposed ones let any begin.
    assert told == [
        "Refused for their model: acme: 0 3 request", "Refused as a retry: acme: 0 1 request",
        "Overage not let begin: acme: 69 69 credit",
    ]  # fmt: skip


@pytest.mark.django_db
def test_an_overdraft_is_laid_on_the_overage_of_each_period(used: Shop) -> None:
    capped = _rules(used, overdraft=OverdraftMode.CAPPED, overdraft_credits=Decimal(50))

    assert _told(capped) == ["Overage not let begin: acme: 69 19 credit"]


@pytest.mark.django_db
def test_an_exception_is_compared_with_the_rule_in_force(shop: Shop) -> None:
    shop.grant("100")
    controls(shop, premium_models=["big"])
    for job in ("night", "day"):
        ask(shop, "3", NOON - timedelta(minutes=1), model="big", job=job)

    exception = _exception(shop, "big", job="night")

    assert _told(exception) == ["Refused for their model: acme: 1 0 request"]


@pytest.mark.django_db
def test_an_exception_follows_one_of_the_same_work_only(shop: Shop) -> None:
    first = _exception(shop, "big")
    other = _exception(shop, "huge")
    for change in (first, other):
        shop.approve(change)

    assert previous_version(_exception(shop, "big")) == first
    assert previous_version(_exception(shop, "other")) is None
    assert ModelException.objects.count() == 4


@pytest.mark.django_db
def test_a_workspaces_balance_is_less_its_own_holds_only(shop: Shop) -> None:
    shop.grant("100")
    lab, shed = shop.workspace("lab"), shop.workspace("shed")
    ask(shop, "30", workspace=lab)
    ask(shop, "5", workspace=shed)

    for place, held in ((None, 35), (lab, 30), (shed, 5)):
        (now,) = balance_now(shop.customer, NOON, place)
        (then,) = balance(shop.customer, NOON, place)
        assert figures(now.held, now.available) == f"{held} {100 - held}"
        assert figures(then.held, then.available) == f"{held} {100 - held}"


def _exception(shop: Shop, model: str, **more: str) -> PolicyChange:
    proposal = words(NOVEMBER.end, NOVEMBER.end + timedelta(days=9))
    return request_exception(
        customer=shop.customer, model=model, proposal=proposal, by=shop.maker, at=NOON,
        job=more.get("job", ""),
    ).policy_change  # fmt: skip


@pytest.mark.django_db
def test_rules_of_all_are_laid_on_those_without_their_own(used: Shop) -> None:
    def of_all() -> PolicyChange:
        terms, proposal = ControlTerms(overdraft=OverdraftMode.ALLOWED), words(NOVEMBER.end)
        proposed = propose_controls(terms=terms, proposal=proposal, by=used.maker, at=NOON)
        return proposed.policy_change

    assert _told(of_all()) == ["Overage not let begin: acme: 69 0 credit"]
    controls(used, overdraft=OverdraftMode.OFF)
    assert _told(of_all()) == []
