"""Parts and overage are the charge, in burn order; corrections undo the newest first."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.period import HOUR, Period
from credits.drawdown import (
    STRIPE_ORDER,
    GrantState,
    Part,
    Use,
    cover_overage,
    draw_down,
    give_back,
    in_burn_order,
)

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
USE = Use(Period(NOON, NOON + HOUR), workspace_id=None, meter_code="input")


def _grant(id_: int, remaining: str = "10", **fields: object) -> GrantState:
    state = GrantState(
        id=id_, remaining=Decimal(remaining), priority=50, is_paid=False,
        effective_at=NOON - DAY, expires_at=None, created_at=NOON - DAY,
    )  # fmt: skip
    return replace(state, **fields)  # type: ignore[arg-type]


def _parts(*parts: tuple[int, str]) -> tuple[Part, ...]:
    return tuple(Part(id_, Decimal(credits_)) for id_, credits_ in parts)


@pytest.mark.parametrize(
    ("charge", "parts", "overage"),
    [
        ("4", [(1, "4")], "0"),
        ("10", [(1, "10")], "0"),
        ("15", [(1, "10"), (2, "5")], "0"),  # 15 = 10 + 5
        ("26.5", [(1, "10"), (2, "10")], "6.5"),  # 26.5 = 10 + 10 + 6.5
        ("0", [], "0"),
    ],
)
def test_grants_pay_in_order_and_the_rest_is_overage(
    charge: str, parts: list[tuple[int, str]], overage: str
) -> None:
    result = draw_down(Decimal(charge), [_grant(1), _grant(2)], USE)

    assert result.parts == _parts(*parts)
    assert result.overage == Decimal(overage)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"priority": 1}, {"priority": 2, "expires_at": NOON + DAY}),
        ({"expires_at": NOON + DAY}, {"expires_at": NOON + 2 * DAY}),
        ({"expires_at": NOON + DAY, "is_paid": True}, {"expires_at": None}),
        ({"is_paid": False, "created_at": NOON}, {"is_paid": True}),
        ({"effective_at": NOON - 2 * DAY, "created_at": NOON}, {"effective_at": NOON - DAY}),
        ({"created_at": NOON - 2 * DAY}, {"created_at": NOON - DAY}),
        ({}, {}),  # The id decides what nothing else does.
    ],
)
def test_stripes_order(first: dict[str, object], second: dict[str, object]) -> None:
    one, two = _grant(1, **first), _grant(2, **second)  # type: ignore[arg-type]

    assert in_burn_order([two, one]) == [one, two]


def test_another_order_is_other_data() -> None:
    soon, bought = _grant(1, expires_at=NOON + DAY), _grant(2, created_at=NOON - 9 * DAY)

    assert in_burn_order([soon, bought], ["created", "expiry"]) == [bought, soon]


@pytest.mark.parametrize(
    "fields",
    [
        {"effective_at": NOON + timedelta(minutes=59)},
        {"expires_at": NOON + timedelta(minutes=1)},
        {
            "effective_at": NOON + timedelta(minutes=20),
            "expires_at": NOON + timedelta(minutes=30),
        },
    ],
)
def test_a_grant_in_force_for_a_part_of_the_hour_serves_all_of_it(
    fields: dict[str, object],
) -> None:
    result = draw_down(Decimal(3), [_grant(1, **fields)], USE)  # type: ignore[arg-type]

    assert result.parts == (Part(1, Decimal(3)),)


@pytest.mark.parametrize(
    "fields",
    [
        {"effective_at": NOON + timedelta(hours=1)},
        {"expires_at": NOON},
        {"workspace_id": 7},
        {"meter_codes": frozenset({"output"})},
        {"remaining": Decimal(0)},
    ],
)
def test_a_grant_that_does_not_admit_the_use_is_skipped(fields: dict[str, object]) -> None:
    result = draw_down(Decimal(3), [_grant(1, **fields)], USE)  # type: ignore[arg-type]

    assert result.parts == ()
    assert result.overage == 3


def test_a_grant_that_ends_with_the_hour_serves_it() -> None:
    result = draw_down(Decimal(3), [_grant(1, expires_at=NOON + HOUR)], USE)

    assert result.overage == 0


amounts = st.decimals(0, 100, places=12)
instants = st.integers(-5, 5).map(lambda days: NOON + days * DAY)
grants = st.builds(
    GrantState,
    id=st.integers(1, 1000),
    remaining=amounts,
    priority=st.integers(0, 2),
    is_paid=st.booleans(),
    effective_at=instants,
    expires_at=st.none() | instants,
    created_at=instants,
    workspace_id=st.none() | st.integers(1, 2),
    meter_codes=st.frozensets(st.sampled_from(["input", "output"])),
)
some_grants = st.lists(grants, max_size=6, unique_by=lambda grant: grant.id)


@given(charge=amounts, states=some_grants, seed=st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_parts_and_overage_are_the_charge_whatever_the_order_of_grants(
    charge: Decimal, states: list[GrantState], seed: Random
) -> None:
    result = draw_down(charge, states, USE)
    shuffled = list(states)
    seed.shuffle(shuffled)

    assert result.drawn + result.overage == charge
    assert draw_down(charge, shuffled, USE) == result
    left = {state.id: state.remaining for state in states if state.admits(USE)}
    assert all(0 < part.credits <= left[part.grant_id] for part in result.parts)
    assert not result.overage or sum(left.values()) == result.drawn


@given(charge=amounts, cut=amounts, states=some_grants)
@settings(max_examples=80, deadline=None)
def test_drawing_in_two_steps_comes_to_the_same(
    charge: Decimal, cut: Decimal, states: list[GrantState]
) -> None:
    first = draw_down(min(cut, charge), states, USE, STRIPE_ORDER)
    drawn = {part.grant_id: part.credits for part in first.parts}
    rest = [replace(g, remaining=g.remaining - drawn.get(g.id, Decimal(0))) for g in states]
    second = draw_down(charge - min(cut, charge), rest, USE, STRIPE_ORDER)
    at_once = draw_down(charge, states, USE, STRIPE_ORDER)

    assert first.overage + second.overage == at_once.overage
    for part in second.parts:
        drawn[part.grant_id] = drawn.get(part.grant_id, Decimal(0)) + part.credits
    assert drawn == {part.grant_id: part.credits for part in at_once.parts}


def test_overage_is_given_back_first_then_the_newest_draws() -> None:
    # 12 to undo: 5 overage, 4 of the newest draw, 3 of the 6 before it.
    result = give_back(Decimal(12), Decimal(5), _parts((2, "4"), (1, "6"), (3, "9")))

    assert result.overage == 5
    assert result.parts == _parts((2, "4"), (1, "3"))


def test_several_draws_of_one_grant_come_back_as_one_part() -> None:
    result = give_back(Decimal(7), Decimal(0), _parts((1, "2"), (2, "3"), (1, "4")))

    assert result.parts == _parts((1, "4"), (2, "3"))  # 2 + 2 of the first grant.


def test_what_was_forgiven_elsewhere_is_undone_last() -> None:
    # 20 to undo: 2 overage, 3 forgiven of the same use, 9 drawn, and 6 of what was elsewhere.
    result = give_back(Decimal(20), Decimal(2), _parts((1, "4"), (2, "5")), Decimal(3), Decimal(8))

    assert [result.overage, result.forgiven] == [Decimal(2), Decimal(9)]
    assert result.parts == _parts((1, "4"), (2, "5"))


@given(
    overage=amounts,
    draws=st.lists(st.builds(Part, st.integers(1, 3), st.decimals("0.1", 9, places=1)), max_size=6),
    share=st.integers(0, 10),
)
@settings(max_examples=80, deadline=None)
def test_what_is_given_back_is_what_was_undone(
    overage: Decimal, draws: list[Part], share: int
) -> None:
    whole = overage + sum(draw.credits for draw in draws)
    charge = (whole * share / 10).quantize(Decimal("0.0001"), "ROUND_DOWN")

    result = give_back(charge, overage, draws)

    assert result.overage + result.returned == charge
    assert 0 <= result.overage <= overage
    assert not result.parts or result.overage == overage
    drawn = {id_: sum(d.credits for d in draws if d.grant_id == id_) for id_ in (1, 2, 3)}
    assert all(0 < part.credits <= drawn[part.grant_id] for part in result.parts)


def test_freed_credits_cover_the_newest_overage_that_they_admit() -> None:
    output = replace(USE, meter_code="output")
    freed = [_grant(1, "5", meter_codes=frozenset({"input"}))]

    covered = cover_overage([(Decimal(2), output), (Decimal(3), USE), (Decimal(4), USE)], freed)

    assert [result.drawn for result in covered] == [0, 3, 2]


@given(freed=some_grants, overages=st.lists(amounts, max_size=5))
@settings(max_examples=60, deadline=None)
def test_cover_never_spends_more_than_came_back(
    freed: list[GrantState], overages: list[Decimal]
) -> None:
    covered = cover_overage([(overage, USE) for overage in overages], freed)

    spent = sum(result.drawn for result in covered)
    assert spent <= sum(grant.remaining for grant in freed)
    assert all(r.drawn + r.overage == o for r, o in zip(covered, overages, strict=False))
