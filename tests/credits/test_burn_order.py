"""Burn orders are total, do not depend on the order of input, and say why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credits.burn_order import KEYS, PRESETS, STRIPE_ORDER, in_burn_order, preset_of, why
from credits.grant_state import GrantState

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def _grant(id_: int, **fields: object) -> GrantState:
    state = GrantState(
        id=id_, remaining=Decimal(10), priority=50, is_paid=False,
        effective_at=NOON - DAY, expires_at=None, created_at=NOON - DAY,
    )  # fmt: skip
    return replace(state, **fields)  # type: ignore[arg-type]


GRANTS = st.lists(
    st.builds(
        _grant,
        st.integers(1, 10**6),
        priority=st.sampled_from([10, 50]),
        is_paid=st.booleans(),
        effective_at=st.sampled_from([NOON - DAY, NOON]),
        expires_at=st.sampled_from([None, NOON + DAY, NOON + 2 * DAY]),
        created_at=st.sampled_from([NOON - DAY, NOON]),
        workspace_id=st.sampled_from([None, 7]),
        meter_codes=st.sampled_from([frozenset(), frozenset({"a"}), frozenset({"a", "b"})]),
        amount=st.sampled_from([Decimal(10), Decimal(20)]),
        unit_cost=st.sampled_from([Decimal(0), Decimal("0.5"), Decimal(1)]),
        is_rolled_over=st.booleans(),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda grant: grant.id,
)


@given(grants=GRANTS, order=st.permutations(sorted(KEYS)), shuffle=st.randoms())
def test_any_order_is_total_and_does_not_depend_on_the_input(
    grants: list[GrantState], order: list[str], shuffle: object
) -> None:
    mixed = list(grants)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]

    assert in_burn_order(mixed, order[:5]) == in_burn_order(grants, order[:5])


@given(grants=GRANTS, preset=st.sampled_from(sorted(PRESETS)))
def test_a_burn_is_explained_by_a_key_in_which_the_next_grant_differs(
    grants: list[GrantState], preset: str
) -> None:
    order = PRESETS[preset].order
    first, *rest = in_burn_order(grants, order)

    reason = why(first, rest, order)

    if not rest:
        assert reason == "the only grant that this usage could burn"
    else:
        assert f"grant {rest[0].id}" in reason


@pytest.mark.parametrize(
    ("preset", "first", "second"),
    [
        # Stripe's published examples: priority, then expiry, then promotional, effective, created.
        ("stripe", {"priority": 10}, {"expires_at": NOON + DAY}),
        ("stripe", {"expires_at": NOON + DAY, "is_paid": True}, {"expires_at": NOON + 2 * DAY}),
        ("stripe", {"is_paid": False}, {"is_paid": True}),
        ("stripe", {"effective_at": NOON - 2 * DAY}, {"created_at": NOON - 3 * DAY}),
        ("stripe", {"created_at": NOON - 2 * DAY}, {}),
        ("orb", {"expires_at": NOON + DAY, "unit_cost": Decimal(9)}, {"unit_cost": Decimal(0)}),
        ("orb", {"unit_cost": Decimal("0.4")}, {"unit_cost": Decimal("0.5"), "priority": 0}),
        ("openmeter", {"created_at": NOON - 2 * DAY, "is_paid": True}, {}),
        ("lago", {"is_paid": False}, {"is_paid": True, "expires_at": NOON + DAY}),
        ("metronome", {"is_rolled_over": True}, {"priority": 0}),
        ("metronome", {"meter_codes": frozenset({"a"})}, {"expires_at": NOON + DAY}),
        ("metronome", {"is_paid": True}, {"unit_cost": Decimal(1)}),
        ("flexprice", {"amount": Decimal(20)}, {"amount": Decimal(10), "is_paid": False}),
    ],
)
def test_presets_burn_what_their_products_burn_first(
    preset: str, first: dict[str, object], second: dict[str, object]
) -> None:
    burned = in_burn_order([_grant(1, **second), _grant(2, **first)], PRESETS[preset].order)

    assert [grant.id for grant in burned] == [2, 1]


def test_a_reason_reads_as_words() -> None:
    reason = why(_grant(4, priority=10), [_grant(7)], STRIPE_ORDER)

    assert reason == "priority 10, before grant 7: priority 50"


def test_a_preset_is_known_by_its_keys() -> None:
    assert preset_of(["expiry", "cheaper_first"]) == "orb"
    assert preset_of(["expiry"]) is None
