"""A grant's price is spread evenly over its credits."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credits.costing import cost_of


@pytest.mark.parametrize(
    ("part", "amount", "price_minor", "currency", "cost"),
    [
        ("10000", "10000", 9_000, "USD", "90"),
        ("-250", "10000", 9_000, "USD", "-2.25"),  # 90.00 x 250 / 10,000
        ("1", "3", 100, "USD", "0.333333333333"),
        ("1", "4", 1_000, "JPY", "250"),  # The yen has no decimals,
        ("1", "4", 1_000, "KWD", "0.25"),  # the dinar three.
        ("7", "10", 0, "USD", "0"),
    ],
)
def test_credits_cost_their_share(
    part: str, amount: str, price_minor: int, currency: str, cost: str
) -> None:
    assert cost_of(Decimal(part), Decimal(amount), price_minor, currency) == Decimal(cost)


@given(
    amount=st.decimals(1, 10**6, places=6),
    price_minor=st.integers(0, 10**9),
    share=st.integers(0, 100),
)
@settings(max_examples=50, deadline=None)
def test_parts_cost_the_price_to_the_last_decimal_but_one(
    amount: Decimal, price_minor: int, share: int
) -> None:
    part = amount * share / 100
    costs = [cost_of(credits_, amount, price_minor, "USD") for credits_ in (part, amount - part)]

    assert abs(sum(costs) - Decimal(price_minor).scaleb(-2)) <= Decimal("1e-12")
