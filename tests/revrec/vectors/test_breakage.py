"""Published breakage: in proportion to use, caught up, at expiry; and a shortcut that is wrong."""

from datetime import date
from decimal import Decimal

import pytest

from billing_project.kernel.money import prorate
from revrec.basis import CostBasis, Movement, releases
from revrec.breakage import (
    Cohort,
    contra_target,
    escheated,
    never_used,
    trued_up,
)
from revrec.posting import About, credits_expired, credits_used, pack_invoiced, payment_received
from tests.revrec.vectors import VECTORS, minor, minors, moved

USD = About("USD")
POINTS = Decimal(10_000)  # Granted in each of these examples.


def _earned(price_minor: int, used: int, expected: int, granted: Decimal = POINTS) -> int:
    """Return what use has earned in all, with 2190 as a close holds it."""
    consumed = prorate(price_minor, Decimal(used), granted)
    unused = price_minor - prorate(price_minor, Decimal(expected), granted)
    return consumed + contra_target(consumed, price_minor - unused - consumed, unused)


def _whole(minor_: int) -> int:
    """Round minor units to whole ones, half up, as these sources print them."""
    return (minor_ + 50) // 100


def test_kpm_01_a_new_estimate_is_caught_up() -> None:
    inputs, expected = VECTORS["KPM-01"]["inputs"], VECTORS["KPM-01"]["expected"]
    first, second = inputs["redeemed"]

    def years(price: int) -> list[int]:
        through_2 = _whole(_earned(price * 100, first, inputs["expected"][0]))
        through_3 = _whole(_earned(price * 100, first + second, inputs["expected"][1]))
        return [through_2, through_3 - through_2]

    # From the published 9,000 the published years; from the exact 8,842 ours.
    assert years(expected["alloc_points"]) == [expected["revenue_y2"], expected["revenue_y3"]]
    assert years(8_842) == [4_102, 3_490]


def test_ifr_52_points_earn_by_expected_redemptions() -> None:
    inputs, expected = VECTORS["IFR-52"]["inputs"], VECTORS["IFR-52"]["expected"]
    price = expected["alloc"][1]

    through = [
        _whole(_earned(price * 100, used, total))
        for used, total in zip(inputs["redeemed_cum"], inputs["expected"], strict=True)
    ]

    assert [through[0], through[1] - through[0]] == expected["revenue"]
    assert [price - earned for earned in through] == expected["contract_liability"]


def test_flh_02_the_divisor_is_what_is_expected_and_not_what_was_granted() -> None:
    inputs, expected = VECTORS["FLH-02"]["inputs"], VECTORS["FLH-02"]["expected"]
    liability, redeemed = minor(inputs["contract_liability"]), Decimal(inputs["redeemed"])

    granted = Decimal(inputs["granted"])
    earned = _earned(liability, inputs["redeemed"], inputs["expected"], granted)
    by_granted = prorate(liability, redeemed, Decimal(inputs["granted"]))

    assert earned == minor(expected["correct_revenue"])
    assert by_granted == minor(expected["published_revenue"])  # The published shortcut: too little.
    assert by_granted < earned


def test_gft_01_cards_that_will_not_come_back_earn_with_those_that_do() -> None:
    inputs, expected = VECTORS["GFT-01"]["inputs"], VECTORS["GFT-01"]["expected"]
    sold, redeemed = minor(inputs["sold"]), minor(inputs["redeemed"])
    unused = prorate(sold, Decimal(inputs["breakage_rate"]), Decimal(1))

    december = moved(pack_invoiced(sold, USD), payment_received(sold, USD))
    target = contra_target(redeemed, sold - redeemed - unused, unused)
    january = moved(credits_used(redeemed, USD), trued_up(target, 0, USD))

    assert december == {
        "1000": minor(expected["Dec"]["Dr Cash"]),
        "2100": -minor(expected["Dec"]["Cr Contract liability"]),
    }
    assert -january["4010"] == minor(expected["Jan"]["redemption revenue"])
    assert -january["4030"] == minor(expected["Jan"]["breakage revenue"])
    left = -december["2100"] - january["2100"] - january["2190"]
    assert left == minor(expected["Jan"]["liability_left"])


def test_own_10_a_cohort_is_used_re_estimated_and_ends() -> None:
    expected = VECTORS["OWN-10"]["expected"]
    steps = [  # Consumed, still expected, never used; and what ended before the close.
        (30_000, 60_000, 10_000, 0),
        (60_000, 25_000, 15_000, 0),
        (80_000, 0, 0, 20_000),
    ]

    held, revenue, balances, breakage = 0, [], [], []
    for consumed, still, unused, ended in steps:
        target = contra_target(consumed, still, unused)
        entry = moved(credits_expired(ended, USD), trued_up(target, held, USD))
        held = target
        balances.append(held)
        breakage.append(-entry.get("4030", 0))
        revenue.append(consumed + sum(breakage))

    assert balances == minors(expected["2190_balance"])
    assert revenue == minors(expected["cumulative_revenue"])
    assert breakage == minors(expected["breakage_rev_by_step"])


def test_own_11_without_an_estimate_breakage_waits_for_the_end() -> None:
    vector = VECTORS["OWN-11"]
    basis = CostBasis(minor(vector["inputs"]["P"]), Decimal(1_000))
    movements = [
        Movement(1, date(2026, 1, 10), Decimal(-800)),
        Movement(2, date(2026, 3, 1), Decimal(-200), ends_grant=True),
    ]

    used, ended = releases(basis, Decimal(0), 0, movements)

    assert (used.amount_minor, used.is_breakage) == (
        minor(vector["expected"]["usage_revenue"]), False,
    )  # fmt: skip
    assert (ended.amount_minor, ended.is_breakage) == (
        minor(vector["expected"]["breakage_revenue_at_expiry"]), True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("open_minor", "ended_minor", "unused"),
    [
        (100_000, 0, 10_000),  # Nothing happened yet: 10 % of 1,000.00.
        (40_000, 0, 10_000),
        (5_000, 0, 5_000),  # No more than what is open.
        (40_000, 6_000, 4_000),  # What has ended counts towards the estimate.
        (40_000, 30_000, 0),  # More ended than was expected.
        (0, 0, 0),
    ],
)
def test_an_estimate_speaks_of_the_whole_price(
    open_minor: int, ended_minor: int, unused: int
) -> None:
    cohort = Cohort(consumed_minor=100_000 - open_minor - ended_minor, open_minor=open_minor)

    assert never_used(cohort, 100_000, Decimal("0.10")) == unused


def test_nobody_uses_any_and_nothing_is_earned() -> None:
    assert contra_target(0, 90_000, 10_000) == 0
    assert contra_target(0, 0, 10_000) == 0


def test_what_the_law_claims_is_no_revenue() -> None:
    ended = moved(credits_expired(700, USD), escheated(700, USD))
    assert ended == {"2100": 700, "2400": -700}
