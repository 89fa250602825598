"""Periods of recurring grants follow the anchor, in the customer's time zone."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from credits.recurrence import days_after, due_periods, nth_start


def test_the_31st_comes_back_after_short_months() -> None:
    anchor = datetime(2026, 1, 31, 8, tzinfo=UTC)

    starts = [nth_start(anchor, "month", 1, index, "UTC") for index in range(5)]

    assert [f"{start:%m-%d}" for start in starts] == ["01-31", "02-28", "03-31", "04-30", "05-31"]


def test_the_local_hour_stays_when_clocks_change() -> None:
    anchor = datetime(2026, 3, 28, tzinfo=ZoneInfo("Europe/Vienna"))

    starts = [nth_start(anchor, "week", 1, index, "Europe/Vienna") for index in range(2)]

    assert [start.isoformat() for start in starts] == [
        "2026-03-27T23:00:00+00:00",
        "2026-04-03T22:00:00+00:00",
    ]
    assert days_after(anchor, 1, "Europe/Vienna").isoformat() == "2026-03-28T23:00:00+00:00"


@given(
    unit=st.sampled_from(["day", "week", "month"]),
    count=st.integers(1, 5),
    day=st.integers(1, 31),
    zone=st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata"]),
)
def test_periods_follow_each_other_without_a_gap(
    unit: str, count: int, day: int, zone: str
) -> None:
    anchor = datetime(2026, 1, day, 2, 30, tzinfo=ZoneInfo(zone))
    at = datetime(2027, 2, 1, tzinfo=UTC)

    periods = due_periods(anchor, unit, count, zone, until=None, at=at)

    assert periods[0].start == anchor
    assert all(a.end == b.start for a, b in pairwise(periods))
    assert periods[-1].start <= at < periods[-1].end


def test_no_period_begins_at_or_after_the_end() -> None:
    anchor, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)

    periods = due_periods(
        anchor, "month", 1, "UTC", until=until, at=datetime(2027, 1, 1, tzinfo=UTC)
    )

    assert [period.start.month for period in periods] == [1, 2]
