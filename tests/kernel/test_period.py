"""Half-open periods and the calendar."""

from datetime import UTC, date, datetime, timedelta

import pytest

from billing_project.kernel.period import (
    Period,
    add_months,
    hour_of,
    midnight,
    month_of,
    months_between,
)


def test_the_end_belongs_to_the_next_period() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    period = Period(start, start + timedelta(days=1))

    assert start in period
    assert period.end not in period


def test_a_day_of_23_hours_is_one_day() -> None:
    # Berlin moved its clocks on 29 March 2026: the day lasts from 23:00 to 22:00 UTC.
    period = Period(
        midnight(date(2026, 3, 29), "Europe/Berlin"), midnight(date(2026, 3, 30), "Europe/Berlin")
    )

    assert period.end - period.start == timedelta(hours=23)
    assert period.days("Europe/Berlin") == [date(2026, 3, 29)]


def test_bounds_are_aware_and_in_order() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="aware"):
        Period(at.replace(tzinfo=None), at.replace(tzinfo=None) + timedelta(1))
    with pytest.raises(ValueError, match="ends after"):
        Period(at, at)


def test_months() -> None:
    assert month_of(date(2024, 2, 29)) == (date(2024, 2, 1), date(2024, 3, 1))
    assert [start.month for start, _ in months_between(date(2025, 11, 30), date(2026, 1, 1))] == [
        11,
        12,
        1,
    ]
    assert add_months(date(2024, 1, 31), 1, 31) == date(2024, 2, 29)
    assert add_months(date(2024, 2, 29), 1, 31) == date(2024, 3, 31)
    assert add_months(date(2025, 12, 15), 14, 15) == date(2027, 2, 15)


def test_an_hour_is_cut_in_utc() -> None:
    at = datetime.fromisoformat("2026-11-20T10:59:59.999999+05:30")

    assert hour_of(at) == datetime(2026, 11, 20, 5, tzinfo=UTC)
