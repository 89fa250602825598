"""Rounding: worked examples, and PostgreSQL's opinion of the same."""

from decimal import Decimal

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.rounding import Rounding, RoundingMode


@pytest.mark.parametrize(
    ("mode", "decimals", "amount", "divisor", "rounded"),
    [
        ("half_even", 0, "2.5", 1, "2"), ("half_even", 0, "3.5", 1, "4"),
        ("half_even", 0, "2.51", 1, "3"), ("half_up", 0, "2.5", 1, "3"),
        ("half_up", 1, "0.05", 1, "0.1"), ("up", 0, "2.000000000001", 1, "3"),
        ("up", 2, "2.5", 1, "2.50"), ("down", 0, "2.999999999999", 1, "2"),
        ("half_even", 12, "1", 3, "0.333333333333"), ("up", 12, "1", 3, "0.333333333334"),
        ("half_even", 0, "5400", 3600, "2"), ("half_even", 0, "9000", 3600, "2"),  # 1.5 and 2.5.
    ],
)  # fmt: skip
def test_amounts_are_rounded_as_declared(
    mode: str, decimals: int, amount: str, divisor: int, rounded: str
) -> None:
    rule = Rounding(RoundingMode(mode), decimals)

    assert rule.apply(Decimal(amount), divisor) == Decimal(rounded)


@pytest.mark.django_db
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    amount=st.decimals(0, 10**28, places=18, allow_nan=False),
    divisor=st.sampled_from([1, 3600]),
    decimals=st.integers(0, 12),
    mode=st.sampled_from(RoundingMode),
)
def test_postgresql_rounds_as_python_does(
    amount: Decimal, divisor: int, decimals: int, mode: RoundingMode, db: None
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT meter_round(%s, %s, %s, %s)", [amount, divisor, decimals, str(mode)])

        assert cursor.fetchone()[0] == Rounding(mode, decimals).apply(amount, divisor)
