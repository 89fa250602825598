"""Settling, prorating and splitting: exact to the last minor unit."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.money import Money, allocate, exponent, is_currency, prorate, settle


@pytest.mark.parametrize(
    ("unrounded", "currency", "minor"),
    [
        ("3.750", "USD", 375),  # 10,000 x 0.000375 is 3.75, not 0 (OWN-19).
        ("0.005", "USD", 1),  # Half away from zero.
        ("-0.005", "USD", -1),  # Negative totals round by their absolute value (OWN-05).
        ("0.0049999999", "USD", 0),
        ("1234.5", "JPY", 1235),  # No decimals (OWN-03).
        ("1.2345", "KWD", 1235),  # Three decimals (OWN-04).
        ("99999999999999999999.995", "USD", 10_000_000_000_000_000_000_000),
    ],
)
def test_an_amount_is_settled_once(unrounded: str, currency: str, minor: int) -> None:
    assert settle(Decimal(unrounded), currency) == minor


def test_a_price_is_earned_in_shares_that_end_at_the_price() -> None:
    # 100.00 over 3 days: 33.33, 66.67, 100.00; postings 33.33 + 33.34 + 33.33.
    assert [prorate(10_000, Decimal(day), Decimal(3)) for day in range(4)] == [
        0, 3_333, 6_667, 10_000,
    ]  # fmt: skip


def test_the_largest_remainder_gets_the_odd_cent() -> None:
    # 1.00 by 1:1:1 is 0.33 each and one cent over; ties go to the earlier part.
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(-100, [1, 1, 1]) == [-34, -33, -33]
    # 10 by 5:3:1 is 5.56, 3.33, 1.11: the first has the largest remainder.
    assert allocate(10, [5, 3, 1]) == [6, 3, 1]


@given(
    total=st.integers(-(10**15), 10**15),
    weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=12).filter(any),
)
@settings(max_examples=200, deadline=None)
def test_parts_always_sum_to_the_whole(total: int, weights: list[int]) -> None:
    parts = allocate(total, weights)

    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Decimal(total) * weight / sum(weights)) < 1


@given(price=st.integers(-(10**12), 10**12), whole=st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_shares_never_go_back_and_end_exactly(price: int, whole: int) -> None:
    shares = [abs(prorate(price, Decimal(done), Decimal(whole))) for done in range(whole + 1)]

    assert shares == sorted(shares)
    assert shares[-1] == abs(price)


def test_currencies_are_never_summed() -> None:
    with pytest.raises(ValueError, match="never summed"):
        Money(1, "USD") + Money(1, "EUR")


def test_money_reads_with_its_decimals() -> None:
    assert str(Money(123, "USD")) == "1.23 USD"
    assert str(Money(123, "JPY")) == "123 JPY"
    assert str(Money(5, "KWD")) == "0.005 KWD"
    assert exponent("BHD") == 3
    assert is_currency("EUR")
    assert not is_currency("ZZZ")
