"""Fees by the day: worked examples, then what holds for every price and span."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revrec.schedule import day_of, service_days, start_of, straight_line


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
def test_service_days_are_dates_of_the_books_end_exclusive(
    start: str, end: str, first: str, end_on: str
) -> None:
    days = service_days(datetime.fromisoformat(start), datetime.fromisoformat(end), "UTC")

    assert days == (date.fromisoformat(first), date.fromisoformat(end_on))


@pytest.mark.parametrize(
    ("at", "zone", "day"),
    [
        ("2026-01-31T23:30:00-08:00", "UTC", "2026-02-01"),
        ("2026-10-31T23:30Z", "UTC", "2026-10-31"),
        ("2026-10-31T23:30Z", "Europe/Berlin", "2026-11-01"),  # 0:30 there (OWN-16).
        ("2026-10-31T22:30Z", "Europe/Berlin", "2026-10-31"),
        ("2026-07-31T22:30Z", "Europe/Berlin", "2026-08-01"),  # In summer an hour earlier.
        ("2026-11-01T04:30Z", "America/New_York", "2026-11-01"),
        ("2026-11-01T03:30Z", "America/New_York", "2026-10-31"),
    ],
)
def test_the_day_of_an_instant_is_its_date_in_the_zone_of_the_books(
    at: str, zone: str, day: str
) -> None:
    assert day_of(datetime.fromisoformat(at), zone) == date.fromisoformat(day)


def test_a_day_on_which_clocks_change_is_one_day() -> None:
    def hours(day: date) -> Decimal:
        start, end = (start_of(one, "Europe/Berlin") for one in (day, day + timedelta(days=1)))
        return Decimal((end - start) // timedelta(hours=1))

    assert [hours(date(2026, 3, 29)), hours(date(2026, 10, 25))] == [23, 25]
    # A week over either earns a seventh a day: 7.00 are 1.00 each.
    for first in (date(2026, 3, 26), date(2026, 10, 22)):
        start, end = (start_of(one, "Europe/Berlin") for one in (first, first + timedelta(days=7)))
        span = service_days(start, end, "Europe/Berlin")
        assert span == (first, first + timedelta(days=7))
        assert {day.amount_minor for day in straight_line(700, *span)} == {100}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**12), st.integers(1, 800))
def test_the_days_sum_to_the_price_and_never_fall_behind(price: int, day_count: int) -> None:
    start_on = date(2026, 1, 1)

    days = list(straight_line(price, start_on, start_on + timedelta(days=day_count)))

    assert sum(day.amount_minor for day in days) == price
    assert all(abs(day.amount_minor - price / Decimal(day_count)) <= 1 for day in days)
    assert [day.service_on for day in days] == sorted({day.service_on for day in days})


@settings(max_examples=40, deadline=None)
@given(
    st.datetimes(timezones=st.just(UTC)),
    st.lists(st.integers(1, 3000), max_size=9),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"]),
)
def test_periods_that_follow_one_another_share_no_day(
    start: datetime, hours: list[int], zone: str
) -> None:
    bounds = [start.replace(year=2026, day=1)]
    for count in hours:
        bounds.append(bounds[-1] + timedelta(hours=24 + count))

    spans = [service_days(a, b, zone) for a, b in pairwise(bounds)]

    assert all(a[1] == b[0] for a, b in pairwise(spans))
