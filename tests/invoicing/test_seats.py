"""What seats cost by the day."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.money import Money
from billing_project.kernel.period import Period
from invoicing.seats import (
    Change,
    Pricing,
    TooFewSeats,
    advance_line,
    change_words,
    refuse_too_few,
    seat_days,
    seats_at,
    worth,
)

START = datetime(2026, 11, 1, tzinfo=UTC)
PRICING = Pricing("Seats", Money(2_000, "USD"), Period(START, START + timedelta(days=30)), "UTC")


def _on(day: int, seats: int) -> Change:
    return Change(START + timedelta(days=day - 1), seats)


@pytest.mark.parametrize(
    ("changes", "days", "minor"),
    [
        ([_on(1, 5)], 150, 10_000),  # 5 x 20.00
        ([_on(1, 5), _on(13, 3)], 204, 13_600),  # and 3 for 18 of 30 days: 36.00
        ([_on(1, 5), _on(26, -2)], 140, 9_333),  # 2 fewer for 5 days: 93.333...
        ([_on(-9, 5), _on(0, -5)], 0, 0),  # Gone before the period.
        ([_on(1, 5), _on(31, 3)], 150, 10_000),  # From the next period on.
        ([_on(16, 1), _on(16, -1)], 0, 0),  # Added and removed on one day.
    ],
)
def test_seats_cost_their_days(changes: list[Change], days: int, minor: int) -> None:
    assert seat_days(changes, PRICING) == (days, 30)
    assert worth(changes, PRICING) == minor


def test_a_change_within_a_day_counts_for_all_of_it() -> None:
    noon = Change(START + timedelta(days=12, hours=12), 3)

    assert worth([noon], PRICING) == 3_600  # 3 x 18 of 30 days x 20.00


def test_the_day_is_the_customers() -> None:
    tokyo = Pricing(
        "Seats", Money(3_000, "JPY"),
        Period(datetime(2026, 10, 31, 15, tzinfo=UTC), datetime(2026, 11, 30, 15, tzinfo=UTC)),
        "Asia/Tokyo",
    )  # fmt: skip

    late = Change(datetime(2026, 11, 15, 15, tzinfo=UTC), 1)  # The 16th in Tokyo: 15 days left.
    assert worth([late], tokyo) == 1_500


def test_the_arithmetic_is_written_down() -> None:
    assert change_words([_on(13, 3), _on(26, -1)], PRICING) == (
        "3 added, 18 of 30 days x 3 x 20.00; 1 removed, 5 of 30 days x 20.00"
    )
    line = advance_line(5, PRICING, 10_000)
    assert (line.quantity, line.unit_price_unrounded, line.amount_minor) == (
        Decimal(5), Decimal("20.00"), 10_000,
    )  # fmt: skip


def test_fewer_than_no_seats_are_refused_at_any_time() -> None:
    refuse_too_few([_on(1, 2), _on(5, -2)])
    with pytest.raises(TooFewSeats, match="-1 seats from 2026-11-05"):
        refuse_too_few([_on(1, 2), _on(5, -3), _on(6, 9)])


CHANGES = st.lists(
    st.builds(_on, st.integers(-5, 40), st.integers(-20, 20)), min_size=1, max_size=8
)


@given(changes=CHANGES, cut=st.integers(0, 8))
def test_how_changes_are_cut_and_ordered_changes_no_sum(changes: list[Change], cut: int) -> None:
    """Charging step by step, each up to what all so far are worth, ends on the whole."""
    first = worth(changes[:cut], PRICING)
    rest = worth(changes, PRICING) - first

    assert first + rest == worth(list(reversed(changes)), PRICING)
    each_half = [c for change in changes for c in (change, Change(change.effective_at, 0))]
    assert worth(each_half, PRICING) == worth(changes, PRICING)


@given(changes=CHANGES)
def test_seat_days_are_the_sum_over_days(changes: list[Change]) -> None:
    by_day = sum(seats_at(changes, START + timedelta(days=day)) for day in range(30))

    assert seat_days(changes, PRICING)[0] == by_day
