"""Authorizations on PostgreSQL: what is held, what becomes of it, and which rules refuse."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import Conflict, Invalid, NotFound
from billing_project.kernel.models import User
from credits.models import (
    Alert,
    Authorization,
    Hold,
    LimitMode,
    LimitWindow,
    OverdraftMode,
)
from credits.selectors import balance_now
from credits.selectors.balances import UnitBalance, balance
from credits.services.authorizing import Answer, authorize
from credits.services.controls import (
    ControlTerms,
    LimitTerms,
    propose_controls,
    propose_spend_limit,
    request_exception,
)
from credits.services.counting import watch_limits
from credits.services.holds import lapse_holds, release_hold, settle_hold
from credits.services.standing import Request
from tests.credits.builders import Shop, words

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EARLY = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def granted(shop: Shop) -> Shop:
    """Return a shop whose customer has 100 credits."""
    shop.grant("100")
    return shop


def ask(shop: Shop, cost: str | None = None, at: datetime = NOON, **more: object) -> Answer:
    """Ask to begin work."""
    amount = None if cost is None else Decimal(cost)
    request = Request(credits=amount, **more)  # type: ignore[arg-type]
    return authorize(customer=shop.customer, request=request, api_key=None, at=at)


def limit(shop: Shop, ceiling: str, window: LimitWindow = LimitWindow.DAY, **more: object) -> None:
    """Propose and approve a hard limit."""
    terms: dict[str, object] = {"mode": LimitMode.HARD, "unit": shop.unit, **more}
    proposed = propose_spend_limit(
        code=str(more.pop("code", "cap")),
        terms=LimitTerms(
            customer=shop.customer, window=window, credits=Decimal(ceiling),
            **{name: value for name, value in terms.items() if name != "code"},  # type: ignore[arg-type]
        ),
        proposal=words(EARLY), by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(proposed.policy_change)


def controls(shop: Shop, **terms: object) -> None:
    """Propose and approve rules of the request path."""
    proposed = propose_controls(
        terms=ControlTerms(customer=shop.customer, **terms),  # type: ignore[arg-type]
        proposal=words(EARLY), by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(proposed.policy_change)


def credits_of(shop: Shop, at: datetime = NOON) -> UnitBalance:
    """Return the customer's balance now."""
    (found,) = balance_now(shop.customer, at)
    return found


def test_what_is_asked_for_is_held_and_not_available(granted: Shop) -> None:
    answer = ask(granted, "30")

    assert answer.decision.is_allowed
    assert answer.hold is not None
    assert answer.hold.key.startswith("hold_")
    found = credits_of(granted)
    assert [found.ledger, found.held, found.available] == [100, 30, 70]


def test_an_estimate_costs_what_rating_would_charge(granted: Shop) -> None:
    # 200 input x 0.5 = 100: all there is. The rates of `make_shop`.
    answer = ask(granted, estimate={"input": "200"}, model="small")

    assert answer.authorization.credits == 100
    assert answer.hold is not None
    assert answer.hold.parts == {"input": "100"}
    assert not ask(granted, estimate={"input": "1"}, model="small").decision.is_allowed


def test_an_estimate_without_a_rate_is_refused_with_the_reason(granted: Shop) -> None:
    with pytest.raises(Invalid, match="no meter counts"):
        ask(granted, estimate={"images": "2"})


def test_a_hold_is_free_again_when_released_or_over(granted: Shop) -> None:
    first, second = ask(granted, "60").hold, ask(granted, "40", ttl_seconds=60).hold
    assert first is not None
    assert second is not None
    release_hold(hold=first, at=NOON)
    later = NOON + timedelta(seconds=60)

    assert credits_of(granted).held == 40
    assert credits_of(granted, later).held == 0
    assert lapse_holds(customer_id=granted.customer.pk, at=later) == 1
    with pytest.raises(Conflict, match="lapsed"):
        settle_hold(hold=second, identifier="late", at=later)


def test_a_settled_hold_gives_the_difference_back_and_goes_once_it_is_rated(granted: Shop) -> None:
    hold = ask(granted, "60").hold
    assert hold is not None
    identifier = granted.use(NOON - timedelta(minutes=1), input="50")  # Costs 25.
    settled = settle_hold(hold=hold, identifier=identifier, at=NOON)

    assert [settled.state, settled.credits, settled.counted_at] == ["settled", 25, None]
    assert credits_of(granted).available == 75
    granted.rate()
    assert ask(granted, "75").decision.is_allowed
    found = credits_of(granted)
    assert [found.ledger, found.held, found.available] == [75, 75, 0]


def test_a_hold_settled_before_its_event_came_waits_for_it(granted: Shop) -> None:
    hold = ask(granted, "60").hold
    assert hold is not None
    assert settle_hold(hold=hold, identifier="not-yet", at=NOON).state == "open"

    assert credits_of(granted).held == 60


def test_settling_twice_is_one_settlement_and_another_event_is_refused(granted: Shop) -> None:
    hold, other = ask(granted, "10").hold, ask(granted, "10").hold
    assert hold is not None
    assert other is not None
    identifier = granted.use(NOON - timedelta(minutes=1), input="2")
    settle_hold(hold=hold, identifier=identifier, at=NOON)

    assert settle_hold(hold=hold, identifier=identifier, at=NOON).credits == 1
    with pytest.raises(Conflict, match="is settled by"):
        settle_hold(hold=hold, identifier="another", at=NOON)
    with pytest.raises(Conflict, match="settled hold_"):
        settle_hold(hold=other, identifier=identifier, at=NOON)
    with pytest.raises(Conflict, match="is settled by"):
        release_hold(hold=hold, at=NOON)


def test_a_past_balance_knows_what_was_held_then(granted: Shop) -> None:
    hold = ask(granted, "60").hold
    assert hold is not None
    release_hold(hold=hold, at=NOON + timedelta(minutes=1))

    (then,) = balance(granted.customer, NOON + timedelta(seconds=30))
    (later,) = balance(granted.customer, NOON + timedelta(minutes=2))
    assert [then.held, later.held] == [60, 0]


def test_a_hard_limit_counts_rated_usage_and_holds_of_its_window(granted: Shop) -> None:
    limit(granted, "50")
    granted.use(datetime(2026, 11, 19, 23, 30, tzinfo=UTC), input="20")  # Yesterday: 10 credits.
    granted.use(datetime(2026, 11, 20, 8, 30, tzinfo=UTC), input="40")  # Today: 20 credits.
    granted.rate()

    assert ask(granted, "25").decision.is_allowed
    refused = ask(granted, "6")
    assert (refused.decision.reason, refused.decision.limit) == ("limit_reached", "cap")
    assert refused.authorization.limits == [
        {
            "code": "cap", "window": "day", "mode": "hard", "ceiling": "50", "spent": "20",
            "held": "25", "left": "5", "window_ends_at": "2026-11-21T00:00:00Z",
        }
    ]  # fmt: skip
    granted.use(datetime(2026, 11, 20, 9, 30, tzinfo=UTC), input="4")  # 2 more, read from there on.
    granted.rate()
    assert ask(granted, "4").decision.reason == "limit_reached"
    assert ask(granted, "3").decision.is_allowed


def test_a_limit_of_a_model_leaves_other_models_alone(granted: Shop) -> None:
    limit(granted, "5", model="large")

    assert ask(granted, "6", model="large").decision.reason == "limit_reached"
    assert ask(granted, "6", model="small").decision.is_allowed


@pytest.mark.parametrize("is_ended", [False, True])
def test_work_whose_hold_lapsed_counts_against_its_job(granted: Shop, is_ended: bool) -> None:
    limit(granted, "10", LimitWindow.JOB)
    hold = ask(granted, "8", job="a", ttl_seconds=60).hold
    assert hold is not None
    later = NOON + timedelta(seconds=60)
    if is_ended:
        assert lapse_holds(customer_id=granted.customer.pk, at=later) == 1

    answer = ask(granted, "3", later, job="a")

    assert answer.decision.reason == "limit_reached"
    state = answer.limits[0].state
    assert [state.spent, state.held, state.left] == [8, 0, 2]
    assert credits_of(granted, later).available == 100
    assert ask(granted, "10", later, job="b").decision.is_allowed
    for _ in range(2):
        assert release_hold(hold=hold, at=later).state == "released"
    with pytest.raises(Conflict, match="released"):
        settle_hold(hold=hold, identifier="late", at=later)
    assert ask(granted, "10", later, job="a").decision.is_allowed


def test_work_whose_event_came_after_its_hold_lapsed_is_not_released(granted: Shop) -> None:
    hold = ask(granted, "8", job="a", ttl_seconds=60).hold
    assert hold is not None
    before = int(granted.use(NOON, input="1").removeprefix("event-"))
    settle_hold(hold=hold, identifier=f"event-{before + 1}", at=NOON)
    later = NOON + timedelta(hours=1)
    assert lapse_holds(customer_id=granted.customer.pk, at=later) == 1
    come = granted.use(NOON, input="14")

    with pytest.raises(Conflict, match=f"it is {come}"):
        release_hold(hold=hold, at=later)


def test_each_job_has_the_ceiling_of_all_jobs(granted: Shop) -> None:
    limit(granted, "10", LimitWindow.JOB)

    assert ask(granted, "8", job="a").decision.is_allowed
    assert ask(granted, "3", job="a").decision.reason == "limit_reached"
    assert ask(granted, "8", job="b").decision.is_allowed
    assert ask(granted, "30").decision.is_allowed  # Without a job there is none to cap.


def test_a_soft_limit_warns_once_at_each_mark_whoever_gets_there(granted: Shop) -> None:
    limit(granted, "20", mode=LimitMode.SOFT)
    ask(granted, "10")
    ask(granted, "1")
    granted.use(datetime(2026, 11, 20, 8, 30, tzinfo=UTC), input="14")  # 7: 18 of 20 are used.
    granted.rate()
    watch_limits(customer=granted.customer, at=NOON)
    watch_limits(customer=granted.customer, at=NOON)

    raised = Alert.objects.filter(kind="spend_limit").order_by("pk")
    titles = list(raised.values_list("title", flat=True))
    assert titles == ["cap is used up to 50 %", "cap is used up to 90 %"]


def test_a_request_may_be_retried_so_often_in_its_window(granted: Shop) -> None:
    controls(granted, retry_max=2, retry_seconds=60)
    again: dict[str, Any] = {"job": "nightly", "request": "r1"}

    assert [ask(granted, "1", **again).decision.reason for _ in range(3)] == [
        "allowed", "allowed", "retry_cap",
    ]  # fmt: skip
    assert ask(granted, "1", job="nightly", request="r2").decision.is_allowed
    later = NOON + timedelta(seconds=61)
    assert ask(granted, "1", later, **again).decision.is_allowed


def test_an_exception_lets_a_premium_model_through_until_it_expires(granted: Shop) -> None:
    controls(granted, premium_models=["large"], instead={"large": "small"})
    refused = ask(granted, "1", model="large")
    until = words(EARLY, expires_at=NOON + timedelta(hours=1))
    exception = request_exception(
        customer=granted.customer, model="large", proposal=until, by=granted.maker, at=granted.at
    )
    assert ask(granted, "1", model="large").decision.reason == "model_not_allowed"
    granted.approve(exception.policy_change)

    assert refused.decision.instead == "small"
    allowed = ask(granted, "1", model="large").authorization
    assert allowed.exception == exception
    late = ask(granted, "1", NOON + timedelta(hours=1), model="large")
    assert late.decision.reason == "model_not_allowed"


def test_overdraft_is_off_unless_a_policy_says_otherwise(shop: Shop) -> None:
    assert ask(shop, "1").decision.reason == "insufficient_balance"
    controls(shop, overdraft=OverdraftMode.CAPPED, overdraft_credits=Decimal(5))
    assert ask(shop, "5").decision.is_allowed
    assert ask(shop, "1").decision.reason == "insufficient_balance"


def test_a_limit_nobody_approved_refuses_nothing(granted: Shop) -> None:
    propose_spend_limit(
        code="cap",
        terms=LimitTerms(
            granted.customer, LimitWindow.DAY, LimitMode.HARD, granted.unit, Decimal(1)
        ),
        proposal=words(EARLY), by=granted.maker, at=granted.at,
    )  # fmt: skip

    assert ask(granted, "50").decision.is_allowed


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE hold SET state = 'open', ended_at = NULL WHERE state = 'released'",
        "UPDATE hold SET customer_id = customer_id + 1",
        "DELETE FROM hold",
        "UPDATE spend_authorization SET credits = 0",
        "DELETE FROM spend_authorization",
        "UPDATE spend_limit SET credits = 1000000",
        "UPDATE alert SET title = 'nothing'",
    ],
)
def test_postgresql_refuses_other_hands(granted: Shop, statement: str) -> None:
    limit(granted, "50")
    hold = ask(granted, "40").hold
    assert hold is not None
    release_hold(hold=hold, at=NOON)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_every_decision_is_kept(granted: Shop, maker: User) -> None:
    ask(granted, "60", job="a", request="r")
    ask(granted, "60")

    rows = Authorization.objects.order_by("pk").values_list("is_allowed", "reason", "detail")
    assert list(rows) == [
        (True, "allowed", ""),
        (False, "insufficient_balance", "60 credits are asked for, 40 are available"),
    ]
    assert Hold.objects.count() == 1


_Bad = Callable[[Shop], object]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (lambda shop: ask(shop, "1", unit="pearls"), "unit"),
        (lambda shop: ask(shop, "1", ttl_seconds=0), "ttl_seconds"),
        (lambda shop: controls(shop, overdraft=OverdraftMode.CAPPED), "overdraft_credits"),
        (lambda shop: controls(shop, retry_max=2), "retry_seconds"),
        (lambda shop: controls(shop, premium_models=[""]), "premium_models"),
        (lambda shop: limit(shop, "-1"), "credits"),
        (lambda shop: limit(shop, "1", code=" "), "code"),
    ],
)
def test_bad_input_names_its_field(granted: Shop, bad: _Bad, field: str) -> None:
    with pytest.raises((Invalid, NotFound)) as refused:
        bad(granted)

    assert refused.value.field == field
