"""Fees by the day: worked examples, then what holds for every price and span."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.money import settle
from revrec.schedule import day_of, service_days, straight_line
from tests.revrec.vectors import VECTORS


def _by_month(amount_minor: int, start_on: date, end_on: date) -> dict[str, int]:
    months: dict[str, int] = defaultdict(int)
    for day in straight_line(amount_minor, start_on, end_on):
        months[f"{day.service_on:%Y-%m}"] += day.amount_minor
    return dict(months)


# STR-01: 31.00 over 31 days is 1.00 a day; 15-31 January has 17 of them.
# STR-02 and STR-03: 365.00 over 365 days; the published months are their day counts.
@pytest.mark.parametrize(
    ("vector", "revenue"),
    [("STR-01", "Revenue"), ("STR-02", "Revenue"), ("STR-03", "Revenue")],
)
def test_published_subscriptions_earn_by_the_day(vector: str, revenue: str) -> None:
    inputs, expected = VECTORS[vector]["inputs"], VECTORS[vector]["expected"]
    start_on, end_on = (date.fromisoformat(text[:10]) for text in inputs["service"])
    published = expected.get(revenue) or {month: row[revenue] for month, row in expected.items()}

    earned = _by_month(settle(Decimal(inputs["amount"]), "USD"), start_on, end_on)

    for month, amount in published.items():
        assert earned[month] == settle(Decimal(amount), "USD")


def test_own_01_months_of_a_quarter_round_cumulatively() -> None:
    vector = VECTORS["OWN-01"]

    earned = _by_month(vector["inputs"]["minor"], date(2026, 1, 1), date(2026, 4, 1))

    # 10000 * 31/90 = 3444.44; * 59/90 = 6555.56 -> 6556 - 3444 = 3112; the rest is 3444.
    assert list(earned.values()) == vector["expected"]["cumulative"]


def test_own_03_yen_have_no_decimals() -> None:
    vector = VECTORS["OWN-03"]

    days = straight_line(vector["inputs"]["minor"], date(2026, 1, 1), date(2026, 1, 8))

    # 1000/7 = 142.86: 143, 286, 429, 571, 714, 857, 1000.
    assert [day.amount_minor for day in days] == vector["expected"]["cumulative"]


def test_dinars_have_three_decimals() -> None:
    days = straight_line(10_000, date(2026, 1, 1), date(2026, 1, 4))  # KWD 10.000

    assert [day.amount_minor for day in days] == [3_333, 3_334, 3_333]


def test_a_leap_year_has_its_own_day() -> None:
    # 90.00 over the first quarter of 2024: 31 + 29 + 31 = 91 days, not 90.
    earned = _by_month(9_000, date(2024, 1, 1), date(2024, 4, 1))

    # 9000 * 31/91 = 3065.93 -> 3066; * 60/91 = 5934.07 -> 5934; 9000.
    assert earned == {"2024-01": 3_066, "2024-02": 2_868, "2024-03": 3_066}


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
