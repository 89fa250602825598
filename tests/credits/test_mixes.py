"""Mixes of usage: every split sums to what was split, worked out by hand."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credits.mixes import (
    BadMix,
    Mix,
    Shape,
    day_weights,
    presets,
    refuse_bad_mix,
    so_far,
    uses_of,
)
from credits.supplier_prices import TokenKind

ONE = (("small", Decimal(1)),)
PERCENT = st.decimals(0, 100, places=2, allow_nan=False, allow_infinity=False)


def mix(**said: object) -> Mix:
    standard = {
        "name": "own", "calls": 10, "megatokens": Decimal(50), "output_percent": Decimal(10),
        "cached_percent": Decimal(30), "models": ONE,
    }  # fmt: skip
    return Mix(**{**standard, **said})  # type: ignore[arg-type]


def test_tokens_are_split_by_kind_and_model() -> None:
    # 50 MTok: 5 output; of 45 input 13.5 cached, 31.5 not. Three quarters and one quarter.
    models = (("large", Decimal(3)), ("small", Decimal(1)))

    large, small = uses_of(mix(models=models, calls=10))

    assert dict(large.tokens) == {
        TokenKind.INPUT: 23_625_000,
        TokenKind.CACHED_INPUT: 10_125_000,
        TokenKind.OUTPUT: 3_750_000,
    }  # fmt: skip
    assert (large.calls, small.calls) == (8, 2)  # 7.5 and 2.5: the tie goes to the first.


@given(
    st.decimals(0, 10**6, places=6, allow_nan=False, allow_infinity=False),
    PERCENT,
    PERCENT,
    st.lists(st.decimals(1, 100, places=2), min_size=1, max_size=5),
)
def test_parts_sum_to_the_whole(
    megatokens: Decimal, output: Decimal, cached: Decimal, weights: list[Decimal]
) -> None:
    models = tuple((f"m{i}", weight) for i, weight in enumerate(weights))
    found = uses_of(
        mix(megatokens=megatokens, output_percent=output, cached_percent=cached, models=models)
    )

    assert sum(n for use in found for _, n in use.tokens) == int(megatokens * 1_000_000)
    assert sum(use.calls for use in found) == 10


def test_a_burst_has_half_of_it_on_the_last_tenth_of_the_days() -> None:
    assert sum(day_weights(30, Shape.BURST)[:27]) == sum(day_weights(30, Shape.BURST)[27:])
    assert so_far(600, 30, Shape.BURST)[26] == 300
    assert so_far(60, 30, Shape.STEADY)[:3] == [2, 4, 6]
    assert day_weights(1, Shape.BURST) == [1]


@given(st.integers(0, 10**12), st.integers(1, 366), st.sampled_from(Shape))
def test_days_reach_the_total_and_never_fall(total: int, days: int, shape: Shape) -> None:
    found = so_far(total, days, shape)

    assert len(found) == days
    assert found[-1] == total
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"output_percent": Decimal(101)}, "output_percent"),
        ({"cached_percent": Decimal("NaN")}, "cached_percent"),
        ({"megatokens": Decimal(-1)}, "megatokens"),
        ({"calls": -1}, "calls"),
        ({"models": ()}, "models"),
        ({"models": (*ONE, *ONE)}, "models"),
        ({"models": (("small", Decimal(0)),)}, "models"),
        ({"models": (("", Decimal(1)),)}, "models"),
    ],
)
def test_what_nobody_can_use_is_refused(said: dict[str, object], field: str) -> None:
    with pytest.raises(BadMix) as refused:
        refuse_bad_mix(mix(**said))

    assert refused.value.field == field


def test_the_three_presets_are_sound_and_grow() -> None:
    found = presets(ONE)

    for one in found:
        refuse_bad_mix(one)
    assert [one.name for one in found] == ["low", "medium", "heavy"]
    assert found[0].megatokens < found[1].megatokens < found[2].megatokens
