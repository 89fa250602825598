"""Margins in money, with the arithmetic written out."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credits.margins import Margin, Mark, average_basis, margin_of, scale_of

AMOUNTS = st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=6)


@pytest.mark.parametrize(
    ("credits_a_unit", "credit_value", "supplier_price", "revenue", "cost", "percent", "mark"),
    [
        # 1,000,000 tokens x 0.0008 credits x USD 0.01 = 8; supplier 1,000,000 x 0.000005 = 5;
        # 8 - 5 = 3, of 8: 37.5 %.
        ("0.0008", "0.01", "0.000005", "8", "5", "37.5", Mark.GOOD),
        # 1,000,000 x 0.0006 x 0.01 = 6; 6 - 5 = 1, of 6: 16.66... %.
        ("0.0006", "0.01", "0.000005", "6", "5", None, Mark.THIN),
        # Exactly 20 %: 6.25 - 5 = 1.25, of 6.25.
        ("0.000625", "0.01", "0.000005", "6.25", "5", "20", Mark.GOOD),
        # 1,000,000 x 0.0004 x 0.01 = 4; 4 - 5 = -1, of 4: -25 %.
        ("0.0004", "0.01", "0.000005", "4", "5", "-25", Mark.NEGATIVE),
        # Free, and paid for: all of it is lost, of no revenue.
        ("0", "0.01", "0.000005", "0", "5", None, Mark.NEGATIVE),
        ("0", "0.01", "0", "0", "0", None, Mark.GOOD),
    ],
)
def test_a_margin_is_what_the_supplier_leaves(
    credits_a_unit: str,
    credit_value: str,
    supplier_price: str,
    revenue: str,
    cost: str,
    percent: str | None,
    mark: Mark,
) -> None:
    margin = margin_of(
        Decimal(1_000_000), Decimal(credits_a_unit), Decimal(credit_value), Decimal(supplier_price)
    )

    assert (margin.revenue, margin.cost) == (Decimal(revenue), Decimal(cost))
    assert margin.amount == Decimal(revenue) - Decimal(cost)
    assert margin.mark is mark
    if percent is not None:
        assert margin.percent == Decimal(percent)


def test_without_revenue_there_is_no_percent() -> None:
    assert Margin(Decimal(0), Decimal(5)).percent is None


def test_a_paid_credit_costs_all_prices_by_all_credits() -> None:
    # (90 + 30) / (10,000 + 2,000) = 120 / 12,000 = 0.01, not the mean of 0.009 and 0.015.
    grants = [(Decimal(90), Decimal(10_000)), (Decimal(30), Decimal(2_000))]

    assert average_basis(grants) == Decimal("0.01")
    assert average_basis([]) is None


def test_prices_are_quoted_as_people_do() -> None:
    assert [scale_of(unit) for unit in ("token", "request", "seat")] == [1_000_000, 1_000, 1]


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_margins_of_parts_sum_to_the_margin_of_the_whole(
    one: Decimal, other: Decimal, price: Decimal, cost: Decimal
) -> None:
    value = Decimal("0.01")

    parts = margin_of(one, price, value, cost) + margin_of(other, price, value, cost)

    assert parts == margin_of(one + other, price, value, cost)
