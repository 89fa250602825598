"""Every pricing model: the arithmetic by hand, and what holds whatever the numbers are."""

from decimal import Decimal
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credits.rating import RatedSoFar, charge_difference
from credits.tariff import (
    Charge,
    ChargeOutOfBounds,
    FlatFee,
    Formula,
    Graduated,
    Package,
    Percentage,
    PerUnit,
    Step,
    Tariff,
    Tier,
    Volume,
)

D = Decimal
TIERS = (
    Step(D(1000), D("0.5")),
    Step(D(5000), D("0.4"), flat_fee=D(20)),
    Step(None, D("0.25")),
)
GRADUATED, VOLUME = Graduated(TIERS), Volume(TIERS)
PACKAGE = Package(size=D(100), price=D(3))


def _told(charge: Charge) -> list[str]:
    """Write tiers in short: name, quantity x unit price = charge."""
    return [
        f"{tier.name}: {tier.quantity:f} x {tier.unit_price:f} = {tier.charge.normalize():f}"
        for tier in charge.tiers
    ]


@pytest.mark.parametrize(
    ("formula", "quantity", "total"),
    [
        # Per unit: quantity x price, rounded to 12 decimals once.
        (PerUnit(D("0.0004")), "1000000", "400"),
        (PerUnit(D("0.333333333333333333")), "3", "1"),  # 0.999999999999999999
        (PerUnit(D("0.333333333333333333")), "1", "0.333333333333"),
        (PerUnit(D(5)), "0", "0"),
        (PerUnit(D(0)), "7", "0"),
        # Packages of 100 at 3: the one that was begun counts whole.
        (PACKAGE, "1", "3"),
        (PACKAGE, "100", "3"),
        (PACKAGE, "100.000000000001", "6"),
        (PACKAGE, "250", "9"),  # 3 packages x 3
        # Graduated: 1000 x 0.5, then 4000 x 0.4 and 20 for beginning tier 2, then 0.25 each.
        (GRADUATED, "400", "200"),  # 400 x 0.5
        (GRADUATED, "1000", "500"),  # The end of a tier belongs to it: no fee of the next.
        (GRADUATED, "1001", "520.4"),  # 500 + 20 + 1 x 0.4
        (GRADUATED, "5000", "2120"),  # 500 + 20 + 4000 x 0.4
        (GRADUATED, "6000", "2370"),  # 2120 + 1000 x 0.25
        # Volume: all units at the price of the tier that the whole falls in.
        (VOLUME, "400", "200"),  # 400 x 0.5
        (VOLUME, "1000", "500"),  # 1000 x 0.5
        (VOLUME, "1001", "420.4"),  # 1001 x 0.4 + 20: less than 1000 cost
        (VOLUME, "5000", "2020"),  # 5000 x 0.4 + 20
        (VOLUME, "6000", "1500"),  # 6000 x 0.25
        # A flat fee is charged with the first usage of a period, however little.
        (FlatFee(D(49)), "0", "0"),
        (FlatFee(D(49)), "0.000000000001", "49"),
        (FlatFee(D(49)), "1000000", "49"),
        # A percentage of a metered value: 2.9 % of 200 is 5.8.
        (Percentage(D("2.9")), "200", "5.8"),
        (Percentage(D("2.9")), "0.01", "0.00029"),
    ],
)
def test_a_quantity_costs_its_price(formula: Formula, quantity: str, total: str) -> None:
    charge = Tariff(formula).charge(D(quantity))

    assert charge.total == D(total)
    assert sum((tier.charge for tier in charge.tiers), D(0)) == charge.total


@pytest.mark.parametrize(
    ("tariff", "quantity", "told"),
    [
        (Tariff(PerUnit(D("0.5"))), "3", [": 3 x 0.5 = 1.5"]),
        (Tariff(PACKAGE), "250", ["packages of 100: 3 x 3 = 9"]),
        (
            Tariff(GRADUATED),
            "6000",
            [
                "tier 1: 1000 x 0.5 = 500",
                "tier 2: 4000 x 0.4 = 1600",
                "tier 2 fee: 0 x 0 = 20",
                "tier 3: 1000 x 0.25 = 250",
            ],
        ),
        (Tariff(VOLUME), "1001", ["tier 2: 1001 x 0.4 = 400.4", "tier 2 fee: 0 x 0 = 20"]),
        (Tariff(FlatFee(D(49))), "7", ["flat fee: 0 x 0 = 49"]),
        (Tariff(Percentage(D("2.9"))), "200", ["2.9 %: 200 x 0.029 = 5.8"]),
        # 1000 are free; of 1600 used, the first tier prices the 600 above them.
        (
            Tariff(GRADUATED, included=D(1000)),
            "1600",
            ["included: 1000 x 0 = 0", "tier 1: 600 x 0.5 = 300"],
        ),
        (Tariff(GRADUATED, included=D(1000)), "400", ["included: 400 x 0 = 0"]),
        # 10 x 0.5 is 5; the least charge is 8, so 3 are added.
        (Tariff(PerUnit(D("0.5")), minimum=D(8)), "10", [": 10 x 0.5 = 5", "minimum: 0 x 0 = 3"]),
        # 40 x 0.5 is 20; the most is 12, so 8 are taken off.
        (
            Tariff(PerUnit(D("0.5")), minimum=D(8), maximum=D(12)),
            "40",
            [": 40 x 0.5 = 20", "maximum: 0 x 0 = -8"],
        ),
        # The least charge is due with the first usage, within the allowance too.
        (
            Tariff(PerUnit(D(1)), included=D(100), minimum=D(5)),
            "1",
            ["included: 1 x 0 = 0", "minimum: 0 x 0 = 5"],
        ),
        (Tariff(PerUnit(D(1)), minimum=D(5)), "0", []),
    ],
)
def test_a_charge_names_every_tier_it_used(tariff: Tariff, quantity: str, told: list[str]) -> None:
    assert _told(tariff.charge(D(quantity))) == told


def test_growth_into_a_cheaper_volume_tier_lowers_the_charge_and_says_where() -> None:
    # 1000 cost 500. One more makes it 1001 x 0.4 + 20 = 420.4: 79.6 go back.
    change = charge_difference(RatedSoFar(D(1000), D(500)), D(1), Tariff(VOLUME))

    assert change.total == D("-79.6")
    assert _told(change) == [
        "tier 1: -1000 x 0.5 = -500",
        "tier 2: 1001 x 0.4 = 400.4",
        "tier 2 fee: 0 x 0 = 20",
    ]


def test_a_difference_within_graduated_tiers_names_only_what_it_reached() -> None:
    # From 900 to 1100: the last 100 of tier 1, its end, the fee and 100 of tier 2.
    change = charge_difference(RatedSoFar(D(900), D(450)), D(200), Tariff(GRADUATED))

    assert change.total == 110  # 50 + 40 + 20
    assert _told(change) == [
        "tier 1: 100 x 0.5 = 50",
        "tier 2: 100 x 0.4 = 40",
        "tier 2 fee: 0 x 0 = 20",
    ]


def test_a_charge_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(ChargeOutOfBounds):
        Tariff(PerUnit(D(10) ** 3)).charge(D(10) ** 24)


def test_tiers_are_cut_from_the_rounded_total() -> None:
    # Each tier alone would round to 0.333333333333; together 0.666666666666666666 rounds up.
    third = D("0.333333333333333333")
    charge = Tariff(Graduated((Step(D(1), third), Step(None, third)))).charge(D(2))

    assert charge == Charge(
        D("0.666666666667"),
        (
            Tier(D(1), third, D("0.333333333333"), "tier 1"),
            Tier(D(1), third, D("0.333333333334"), "tier 2"),
        ),
    )


quantities = st.decimals(0, 10**7, places=3)
prices = st.decimals(0, 100, places=18)
fees = st.decimals(0, 1000, places=12)
sizes = st.decimals("0.001", 10**4, places=3)


@st.composite
def steps(draw: st.DrawFn) -> tuple[Step, ...]:
    ends = sorted(set(draw(st.lists(sizes, max_size=4))))
    return tuple(Step(end, draw(prices), draw(fees)) for end in [*ends, None])


monotone = st.one_of(
    st.builds(PerUnit, prices),
    st.builds(Package, sizes, fees),
    st.builds(Graduated, steps()),
    st.builds(FlatFee, fees),
    st.builds(Percentage, fees),
)


def tariffs(formulas: st.SearchStrategy[Formula]) -> st.SearchStrategy[Tariff]:
    """Draw tariffs with allowances and bounds; a minimum is never above the maximum."""
    return st.builds(
        lambda formula, included, low, room, bounds: Tariff(
            formula,
            included,
            low if bounds & 1 else None,
            low + room if bounds & 2 else None,
        ),
        formulas,
        st.one_of(st.just(D(0)), sizes),
        st.decimals("0.01", 1000, places=12),
        fees,
        st.integers(0, 3),
    )


all_tariffs = tariffs(st.one_of(monotone, st.builds(Volume, steps())))


@given(tariff=all_tariffs, quantity=quantities)
@settings(max_examples=150, deadline=None)
def test_parts_sum_to_the_whole(tariff: Tariff, quantity: Decimal) -> None:
    charge = tariff.charge(quantity)

    assert sum((tier.charge for tier in charge.tiers), D(0)) == charge.total
    assert charge.total >= 0


@given(tariff=all_tariffs, quantity=quantities, cuts=st.lists(quantities, max_size=8))
@settings(max_examples=150, deadline=None)
def test_cutting_usage_in_time_never_changes_the_sum(
    tariff: Tariff, quantity: Decimal, cuts: list[Decimal]
) -> None:
    points = [D(0), *sorted(min(cut, quantity) for cut in cuts), quantity]
    so_far = RatedSoFar()
    for start, end in pairwise(points):
        part = charge_difference(so_far, end - start, tariff)
        assert part.total == sum((tier.charge for tier in part.tiers), D(0))
        so_far = so_far.plus(end - start, part.total)

    assert so_far.charge == tariff.charge(quantity).total


@given(tariff=all_tariffs, parts=st.lists(quantities, min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_order_never_matters(tariff: Tariff, parts: list[Decimal]) -> None:
    sums = set()
    for ordered in permutations(parts):
        so_far = RatedSoFar()
        for part in ordered:
            so_far = so_far.plus(part, charge_difference(so_far, part, tariff).total)
        sums.add(so_far.charge)

    assert len(sums) == 1


@given(tariff=all_tariffs, parts=st.lists(quantities, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_taking_all_usage_back_takes_all_charges_back(tariff: Tariff, parts: list[Decimal]) -> None:
    so_far = RatedSoFar()
    for part in [*parts, *(-part for part in parts)]:
        so_far = so_far.plus(part, charge_difference(so_far, part, tariff).total)

    assert so_far == RatedSoFar(D(0), D(0))


@given(tariff=tariffs(monotone), one=quantities, more=quantities)
@settings(max_examples=150, deadline=None)
def test_more_usage_never_costs_less_but_by_volume(
    tariff: Tariff, one: Decimal, more: Decimal
) -> None:
    assert tariff.charge(one).total <= tariff.charge(one + more).total


@given(tariff=all_tariffs, quantity=quantities)
@settings(max_examples=60, deadline=None)
def test_a_charge_keeps_its_bounds(tariff: Tariff, quantity: Decimal) -> None:
    total = tariff.charge(quantity).total

    if quantity and tariff.minimum is not None:
        assert total >= tariff.minimum
    if tariff.maximum is not None:
        assert total <= tariff.maximum
