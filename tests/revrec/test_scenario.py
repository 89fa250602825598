"""Scenarios: what a period's usage earns and costs under terms, with the arithmetic written out."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credits.margins import Margin
from invoicing.items import Item
from invoicing.plan_worth import Usage, Worth, period_bill
from revrec.scenario import Trigger, Workload, break_even, outcome_of

# USD 875.00 with 10,000 credits; a credit beyond at 0.010.
SCALE = Worth("USD", 87_500, Decimal(10_000), Decimal("0.010"))
COMMIT = Item("commit", "minimum", "Monthly minimum", 50_000, kinds=("overage",))
CREDITS = st.decimals(0, 10**6, places=6, allow_nan=False, allow_infinity=False)


def work(*so_far: str, cost: str = "0", **said: object) -> Workload:
    days = tuple(map(Decimal, so_far))
    return Workload("own", days, Decimal(cost), **said)  # type: ignore[arg-type]


def test_a_light_user_earns_the_fee() -> None:
    # 4,000 of 10,000 credits used; the supplier takes 25.00: 875 - 25 = 850, of 875: 97.14 %.
    found = outcome_of(work("1000", "4000", cost="25"), SCALE)

    assert (found.included_used, found.overage) == (Decimal(4_000), Decimal(0))
    assert found.spent_on_day is None
    assert found.bill.total.amount_minor == found.revenue.amount_minor == 87_500
    assert found.revenue_by_day == (43_750, 43_750)
    assert found.margin == Margin(Decimal(875), Decimal(25))
    assert found.even_fee_minor == 2_500  # At a fee of 25.00 nothing is left.
    assert found.triggers == ()


def test_a_heavy_user_pays_beyond_the_included_credits_from_the_day_they_ran_out() -> None:
    # Day 1: 9,000; day 2: 12,000, 2,000 beyond; day 3: 30,000, 20,000 beyond at 0.010 = 200.00.
    # Fee 875.00 in three days: 291.67, 291.66, 291.67; overage 0, 20.00, 180.00.
    found = outcome_of(work("9000", "12000", "30000", cost="187.5"), SCALE)

    assert (found.included_used, found.overage) == (Decimal(10_000), Decimal(20_000))
    assert found.spent_on_day == 2
    assert found.bill.overage == 20_000
    assert found.revenue_by_day == (29_167, 29_166 + 2_000, 29_167 + 18_000)
    assert found.revenue.amount_minor == 107_500


def test_what_breaks_even_within_the_included_credits_is_a_thin_base() -> None:
    # 10,000 credits at a cost of 0.10 each: the included ones cost 1,000 of 875. Nothing is left
    # from 875 / 0.10 = 8,750 credits on; each credit beyond loses 0.10 - 0.01.
    found = outcome_of(work("12000", cost="1200"), SCALE)

    assert found.break_even == Decimal(8_750)
    assert found.triggers == (Trigger.THIN_BASE, Trigger.UNDER_WATER, Trigger.LOSING_OVERAGE)
    # 875 + 20 - 1,200 = -305: it would take a fee of 875 + 305.
    assert found.margin.amount == Decimal(-305)
    assert found.even_fee_minor == 118_000


def test_what_breaks_even_beyond_the_included_credits_is_a_heavy_user() -> None:
    # A credit costs 0.02: the included ones 200 of 875, good. Beyond, each loses 0.01, so that
    # the 675 left are lost after 67,500 more: from 77,500 credits on.
    found = outcome_of(work("80000", cost="1600"), SCALE)

    assert found.break_even == Decimal(77_500)
    assert found.triggers == (Trigger.UNDER_WATER, Trigger.LOSING_OVERAGE)
    assert break_even(work("80000", cost="400"), SCALE) is None  # 0.005 a credit never loses.


def test_a_commit_holds_the_margin_until_overage_meets_it() -> None:
    # No fee, 1,000 credits, 0.10 beyond, at least 500.00: met 5,000 beyond. A credit costs 0.20:
    # 500 = 0.20 x 2,500 credits.
    worth = Worth("USD", 0, Decimal(1_000), Decimal("0.1"), (COMMIT,))
    found = outcome_of(work("2000", cost="400"), worth)

    # 1,000 beyond at 0.10 = 100.00; 400.00 are missing.
    assert (found.bill.overage, found.bill.commit) == (10_000, 40_000)
    assert found.break_even == Decimal(2_500)


def test_paid_credits_earn_what_they_cost_as_they_are_drawn() -> None:
    # 3,000 of 4,000 credits were paid by a pack that had cost 27.00.
    found = outcome_of(
        work("1000", "4000", paid_otherwise=Decimal(3_000), paid_cost=Decimal(27)), SCALE
    )

    assert found.included_used == Decimal(1_000)
    assert found.revenue.amount_minor == 87_500 + 2_700


@given(
    st.lists(CREDITS, min_size=1, max_size=12),
    st.integers(0, 10**6),
    CREDITS,
    st.decimals(0, 1, places=4),
    st.booleans(),
    CREDITS,
)
def test_days_sum_to_what_is_billed_and_lines_to_the_bill(
    parts: list[Decimal],
    fee: int,
    included: Decimal,
    price: Decimal,
    has_items: bool,
    paid: Decimal,
) -> None:
    items = (
        COMMIT,
        Item("recurring", "support", "Support", 10_000),
        Item("discount", "start", "Start", percent=Decimal(10), periods=0, kinds=("recurring",)),
    )
    worth = Worth("USD", fee, included, price, items if has_items else ())
    reached = [sum(parts[: i + 1], Decimal(0)) for i in range(len(parts))]
    found = outcome_of(Workload("own", tuple(reached), Decimal(0), paid_otherwise=paid), worth)

    assert sum(found.revenue_by_day) == found.bill.total.amount_minor
    assert sum(line.amount_minor for line in found.lines) == found.bill.total.amount_minor
    assert found.bill == period_bill(worth, Usage(reached[-1], paid))
    assert found.included_used + found.overage == max(reached[-1] - paid, Decimal(0))


@given(
    st.decimals("0.01", 1000, places=2),
    st.integers(1, 10**6),
    st.integers(0, 10**5),
    st.decimals(0, 1, places=3),
    st.booleans(),
)
def test_the_margin_is_nothing_where_it_breaks_even(
    cost: Decimal, fee: int, included: int, price: Decimal, has_commit: bool
) -> None:
    worth = Worth("USD", fee, Decimal(included), price, (COMMIT,) if has_commit else ())
    each = cost / 1000
    at = break_even(work("1000", cost=str(cost)), worth)

    if at is None:
        assert price >= each
        return
    there = outcome_of(Workload("there", (at,), at * each), worth)
    assert abs(there.margin.amount) <= Decimal("0.01")  # Lines are settled to the cent.


@pytest.mark.parametrize("charge", ["0"])
def test_nobody_who_uses_nothing_loses(charge: str) -> None:
    found = outcome_of(work(charge), SCALE)

    assert (found.break_even, found.triggers) == (None, ())
