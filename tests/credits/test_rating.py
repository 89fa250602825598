"""Differences sum to the charge of the whole, and the closest rate prices usage."""

from decimal import Decimal
from itertools import combinations
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credits.rating import (
    AmbiguousRate,
    RatedSoFar,
    RateOption,
    advance,
    ambiguous_pair,
    charge_difference,
    match_rate,
)
from credits.tariff import Charge, PerUnit, Tariff

THIRD = Tariff(PerUnit(Decimal("0.333333333333333333")))


def test_a_difference_is_what_the_whole_costs_less_what_was_charged() -> None:
    # 3 tokens at a third cost 1; two of them were charged 0.666666666667 already.
    so_far = RatedSoFar(Decimal(2), Decimal("0.666666666667"))

    result = charge_difference(so_far, Decimal(1), THIRD)

    assert result.total == Decimal("0.333333333333")


def test_a_negative_difference_takes_back_exactly_what_was_charged() -> None:
    so_far = RatedSoFar(Decimal(3), Decimal(1))

    result = charge_difference(so_far, Decimal(-3), THIRD)

    assert result.total == -1


def _rate(id_: int, **dimensions: str) -> RateOption:
    return RateOption(id_, dimensions)


def test_the_rate_that_asks_for_most_wins() -> None:
    rates = [_rate(1), _rate(2, model="large"), _rate(3, model="large", region="eu")]

    match = match_rate(rates, {"model": "large", "region": "us"})

    assert match is not None
    assert match.id == 2


def test_a_rate_for_other_dimensions_does_not_match() -> None:
    assert match_rate([_rate(1, model="large")], {"model": "small"}) is None
    assert match_rate([_rate(1, model="large")], {}) is None


def test_two_equally_close_rates_are_refused() -> None:
    rates = [_rate(1, model="large"), _rate(2, region="eu")]

    with pytest.raises(AmbiguousRate):
        match_rate(rates, {"model": "large", "region": "eu"})


dimension_sets = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)


@given(
    sets=st.lists(dimension_sets, max_size=5),
    usage=st.fixed_dictionaries({key: st.sampled_from("xy") for key in "abc"}),
)
@settings(max_examples=100, deadline=None)
def test_rates_that_pass_the_proposal_never_match_ambiguously(
    sets: list[dict[str, str]], usage: dict[str, str]
) -> None:
    if ambiguous_pair(sets):
        return

    match_rate([_rate(i, **dimensions) for i, dimensions in enumerate(sets)], usage)


@given(sets=st.lists(dimension_sets, max_size=6))
@settings(max_examples=100, deadline=None)
def test_an_ambiguous_pair_is_the_first_of_all_pairs(sets: list[dict[str, str]]) -> None:
    pairs = [
        (one, other)
        for one, other in combinations(sets, 2)
        if len(one) == len(other) and all(one[key] == other[key] for key in one.keys() & other)
    ]

    assert (ambiguous_pair(sets) is None) == (not pairs)
    assert ambiguous_pair(sets) in [*pairs, None]


class _Read(dict[str, str]):
    """A dimension set that counts how often somebody looks at it."""

    looks = 0

    def __getitem__(self, name: str) -> str:
        _Read.looks += 1
        return super().__getitem__(name)


def test_a_large_matrix_is_checked_in_one_look() -> None:
    cells = [_Read(model=f"m{n}", region="eu") for n in range(2000)]

    assert ambiguous_pair(cells) is None
    assert _Read.looks <= 4 * 2000 * 2


class _Counted(Tariff):
    """A tariff that notes what it was asked to price."""

    asked: ClassVar[list[Decimal]] = []

    def charge(self, quantity: Decimal) -> Charge:
        self.asked.append(quantity)
        return super().charge(quantity)


def test_no_whole_is_priced_twice_as_usage_goes_on() -> None:
    tariff, so_far = _Counted(PerUnit(Decimal("0.5"))), RatedSoFar(Decimal(2), Decimal(1))

    for _ in range(3):
        charge, so_far = advance(so_far, Decimal(2), tariff)
        assert charge.total == 1

    assert tariff.asked == [2, 4, 6, 8]
    assert so_far == RatedSoFar(Decimal(8), Decimal(4))
