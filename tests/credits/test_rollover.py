"""What rolls over and what expires sum to what was left."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credits.rollover import end_of

CREDITS = st.decimals(min_value=0, max_value=10**6, places=12)


@pytest.mark.parametrize(
    ("rollover", "value", "rolled", "expired"),
    [
        ("none", None, "0", "10"),
        ("fraction", "0.25", "2.5", "7.5"),  # 10 x 0.25 = 2.5
        ("fraction", "1", "10", "0"),
        ("fraction", "0.3333333333333", "3.333333333333", "6.666666666667"),
        ("cap", "4", "4", "6"),
        ("cap", "40", "10", "0"),
    ],
)
def test_what_is_left_is_split(rollover: str, value: str | None, rolled: str, expired: str) -> None:
    ending = end_of(Decimal(10), rollover, value and Decimal(value))  # type: ignore[arg-type]

    assert (ending.rolled, ending.expired) == (Decimal(rolled), Decimal(expired))


@given(left=CREDITS, fraction=st.decimals(min_value="0.01", max_value=1, places=2))
def test_no_credit_is_lost_or_made(left: Decimal, fraction: Decimal) -> None:
    ending = end_of(left, "fraction", fraction)

    assert ending.rolled + ending.expired == left
    assert 0 <= ending.rolled <= left
