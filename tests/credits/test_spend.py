"""Whether work may begin: each rule with its figures, and that nobody gets more than there is."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.period import HOUR, Period
from credits.drawdown import STRIPE_ORDER, GrantState, Use
from credits.spend import (
    Ask,
    Controls,
    LimitState,
    ModelRule,
    Overdraft,
    Reason,
    Standing,
    after_holds,
    decide,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HERE = Use(Period(NOON, NOON + HOUR), None, "")
NOTHING = Standing(0, False, (), (), (), STRIPE_ORDER)


def _grant(
    remaining: str, *, workspace_id: int | None = None, meters: str = "", pk: int = 1
) -> GrantState:
    return GrantState(
        id=pk, remaining=Decimal(remaining), priority=50, is_paid=False, effective_at=NOON,
        expires_at=None, created_at=NOON, workspace_id=workspace_id,
        meter_codes=frozenset(meters.split()),
    )  # fmt: skip


def _ask(cost: str, **words: object) -> Ask:
    amount = Decimal(cost)
    return Ask(amount, {"": amount}, HERE, **words)  # type: ignore[arg-type]


def _with(*grants: GrantState, held: str = "0", **words: object) -> Standing:
    uses = [(HERE, Decimal(held))] if held != "0" else []
    return replace(NOTHING, grants=grants, held=uses, **words)  # type: ignore[arg-type]


def _limit(ceiling: str, spent: str = "0", held: str = "0", *, is_hard: bool = True) -> LimitState:
    return LimitState("cap", is_hard, Decimal(ceiling), Decimal(spent), Decimal(held))


def test_the_last_credit_may_be_asked_for_and_no_more() -> None:
    # 10 granted, 4 held: 6 are free.
    standing = _with(_grant("10"), held="4")

    assert decide(_ask("6"), Controls(), standing).is_allowed
    refused = decide(_ask("6.000000000001"), Controls(), standing)
    assert (refused.reason, refused.available) == (Reason.INSUFFICIENT_BALANCE, Decimal(6))


def test_work_that_costs_nothing_needs_no_credits() -> None:
    assert decide(_ask("0"), Controls(), NOTHING).is_allowed


def test_credits_of_another_workspace_or_meter_do_not_count() -> None:
    standing = _with(_grant("10", workspace_id=7), _grant("10", meters="images", pk=2))

    assert decide(_ask("1"), Controls(), standing).reason == Reason.INSUFFICIENT_BALANCE


def test_each_part_is_paid_by_the_grants_that_admit_its_meter() -> None:
    standing = _with(_grant("3", meters="input"), _grant("5", meters="output", pk=2))
    ask = Ask(Decimal(8), {"input": Decimal(3), "output": Decimal(5)}, HERE)
    skewed = Ask(Decimal(8), {"input": Decimal(4), "output": Decimal(4)}, HERE)

    assert decide(ask, Controls(), standing).is_allowed
    assert not decide(skewed, Controls(), standing).is_allowed


def test_a_capped_overdraft_reaches_its_cap_with_what_is_overdrawn_already() -> None:
    controls = Controls(overdraft=Overdraft.CAPPED, overdraft_credits=Decimal(5))
    # 2 of 5 are overdrawn, and a hold of 4 on a grant of 3 takes 1 more: 2 are left.
    standing = _with(_grant("3"), held="4", overdrawn=Decimal(2))

    assert decide(_ask("2"), controls, standing).is_allowed
    assert decide(_ask("2.1"), controls, standing).reason == Reason.INSUFFICIENT_BALANCE


def test_an_allowed_overdraft_has_no_end() -> None:
    decision = decide(_ask("1000000"), Controls(overdraft=Overdraft.ALLOWED), NOTHING)

    assert decision.is_allowed
    assert decision.available is None


def test_a_hard_limit_refuses_what_spent_and_held_leave_no_room_for() -> None:
    # 10 - 6 - 3 = 1.
    standing = _with(_grant("100"), limits=[_limit("10", spent="6", held="3")])

    assert decide(_ask("1"), Controls(), standing).is_allowed
    refused = decide(_ask("1.5"), Controls(), standing)
    assert (refused.reason, refused.limit) == (Reason.LIMIT_REACHED, "cap")


def test_a_soft_limit_lets_everything_through_and_says_its_mark() -> None:
    limit = _limit("10", spent="4", is_hard=False)

    assert decide(_ask("50"), Controls(), _with(_grant("100"), limits=[limit])).is_allowed
    assert [limit.percent_with(Decimal(n)) for n in (0, 1, 4, 5, 6, 60)] == [
        0,
        50,
        80,
        90,
        100,
        100,
    ]


def test_a_limit_of_zero_refuses_all_that_costs() -> None:
    standing = _with(_grant("100"), limits=[_limit("0")])

    assert decide(_ask("0.000000000001"), Controls(), standing).reason == Reason.LIMIT_REACHED


def test_premium_models_are_for_named_work_under_a_ceiling_or_by_exception() -> None:
    rule = ModelRule(
        frozenset({"large"}), {"large": "small"}, frozenset({"prod"}), frozenset({"legal"}),
        Decimal("0.5"),
    )  # fmt: skip
    controls, standing = Controls(models=rule), _with(_grant("100"))

    def reason(cost: str = "1", **words: object) -> Reason:
        return decide(_ask(cost, **words), controls, standing).reason

    assert reason(model="small") == Reason.ALLOWED
    assert reason(model="large") == Reason.MODEL_NOT_ALLOWED
    assert reason(model="large", workspace="prod") == Reason.ALLOWED
    assert reason(model="large", job="legal") == Reason.ALLOWED
    assert reason("0.5", model="large") == Reason.ALLOWED
    assert decide(_ask("1", model="large"), controls, standing).instead == "small"
    excepted = decide(_ask("1", model="large"), controls, replace(standing, has_exception=True))
    assert excepted.is_allowed
    assert excepted.used_exception


def test_a_retry_too_many_is_refused_before_all_else() -> None:
    controls = Controls(retry_max=3)

    assert decide(_ask("0"), controls, replace(NOTHING, attempts=2)).is_allowed
    assert decide(_ask("0"), controls, replace(NOTHING, attempts=3)).reason == Reason.RETRY_CAP


_amounts = st.decimals(min_value="0", max_value="50", places=2)


@given(
    grants=st.lists(st.tuples(_amounts, st.sampled_from([None, 1, 2])), max_size=4),
    asks=st.lists(st.tuples(_amounts, st.sampled_from([None, 1, 2])), max_size=12),
)
def test_no_order_of_asking_is_promised_more_than_there_is(
    grants: list[tuple[Decimal, int | None]], asks: list[tuple[Decimal, int | None]]
) -> None:
    states = [
        replace(_grant(str(amount), workspace_id=place), id=pk)
        for pk, (amount, place) in enumerate(grants)
    ]
    held: list[tuple[Use, Decimal]] = []
    for amount, place in asks:
        use = Use(HERE.period, place, "")
        ask = Ask(amount, {"": amount}, use)
        if decide(ask, Controls(), replace(NOTHING, grants=states, held=held)).is_allowed:
            held.append((use, amount))

    assert sum(amount for _, amount in held) <= sum(amount for amount, _ in grants)


def test_what_is_held_comes_from_the_grants_that_burn_first_and_admit_it() -> None:
    grants = [_grant("3", pk=1), _grant("4", pk=2, workspace_id=7), _grant("5", pk=3)]
    there = Use(HERE.period, 7, "")

    # 6 held of workspace 7: 3 of the first, 3 of its own; 9 elsewhere: 5 of the last, 4 beyond.
    left, beyond = after_holds(grants, [(there, Decimal(6)), (HERE, Decimal(9))], STRIPE_ORDER)

    assert [grant.remaining for grant in left] == [0, 1, 0]
    assert beyond == 4
