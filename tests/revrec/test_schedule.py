"""Fees by the day: worked examples, then what holds for every price and span."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revrec.schedule import day_of, service_days, straight_line


def test_dinars_have_three_decimals() -> None:
    days = straight_line(10_000, date(2026, 1, 1), date(2026, 1, 4))  # KWD 10.000

    assert [day.amount_minor for day in days] == [3_333, 3_334, 3_333]


@pytest.mark.parametrize(
    ("start", "end", "first", "end_on"),
    [
        # Midnight to midnight: October has 31 days.
        ("2026-10-01T00:00+00:00", "2026-11-01T00:00+00:00", "2026-10-01", "2026-11-01"),
        # New York's October, 04:00 to 04:00 UTC: 31 days too, none of them shared with November.
        ("2026-10-01T04:00+00:00", "2026-11-01T04:00+00:00", "2026-10-01", "2026-11-01"),
        # Kolkata's midnight falls on the day before in UTC.
        ("2026-10-01T00:00+05:30", "2026-11-01T00:00+05:30", "2026-09-30", "2026-10-31"),
        # Less than a day is one day.
        ("2026-10-01T09:00+00:00", "2026-10-01T17:00+00:00", "2026-10-01", "2026-10-02"),
    ],
)
def test_service_days_are_utc_dates_end_exclusive(
    start: str, end: str, first: str, end_on: str
) -> None:
    days = service_days(datetime.fromisoformat(start), datetime.fromisoformat(end))

    assert days == (date.fromisoformat(first), date.fromisoformat(end_on))


def test_the_day_of_an_instant_is_its_date_in_utc() -> None:
    pacific_evening = datetime.fromisoformat("2026-01-31T23:30:00-08:00")

    assert day_of(pacific_evening) == date(2026, 2, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**12), st.integers(1, 800))
def test_the_days_sum_to_the_price_and_never_fall_behind(price: int, day_count: int) -> None:
    start_on = date(2026, 1, 1)

    days = list(straight_line(price, start_on, start_on + timedelta(days=day_count)))

    assert sum(day.amount_minor for day in days) == price
    assert all(abs(day.amount_minor - price / Decimal(day_count)) <= 1 for day in days)
    assert [day.service_on for day in days] == sorted({day.service_on for day in days})


@settings(max_examples=40, deadline=None)
@given(st.datetimes(timezones=st.just(UTC)), st.lists(st.integers(1, 3000), max_size=9))
def test_periods_that_follow_one_another_share_no_day(start: datetime, hours: list[int]) -> None:
    bounds = [start.replace(year=2026, day=1)]
    for count in hours:
        bounds.append(bounds[-1] + timedelta(hours=24 + count))

    spans = [service_days(a, b) for a, b in pairwise(bounds)]

    assert all(a[1] == b[0] for a, b in pairwise(spans))
