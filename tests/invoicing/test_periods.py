"""Bounds of a subscription's periods: worked examples, then the partition property."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoicing.periods import Unit, bound, nth_period

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "unit", "count", "index", "zone", "expected"),
    [
        ("2026-10-24", Unit.DAY, 30, 1, "UTC", "2026-11-23"),
        ("2026-01-31", Unit.MONTH, 1, 1, "UTC", "2026-02-28"),  # February has no 31st.
        ("2026-01-31", Unit.MONTH, 1, 2, "UTC", "2026-03-31"),  # March has it again.
        ("2027-12-31", Unit.MONTH, 1, 2, "UTC", "2028-02-29"),  # A leap day.
        ("2024-02-29", Unit.MONTH, 12, 1, "UTC", "2025-02-28"),
        ("2024-02-29", Unit.MONTH, 12, 4, "UTC", "2028-02-29"),
        # Berlin's midnight is 22:00 UTC in summer, 23:00 in winter; the clocks go back on
        # 25 October 2026, so this month has 31 days and one hour more.
        ("2026-09-30T22:00", Unit.MONTH, 1, 1, "Europe/Berlin", "2026-10-31T23:00"),
        # 02:30 does not exist in Berlin on 29 March 2026: read with the winter offset.
        ("2026-02-28T01:30", Unit.DAY, 29, 1, "Europe/Berlin", "2026-03-29T01:30"),
        # The local day counts: 31 January 23:00 UTC is 1 February in Berlin.
        ("2026-01-31T23:00", Unit.MONTH, 1, 1, "Europe/Berlin", "2026-02-28T23:00"),
    ],
)
def test_bounds(start: str, unit: Unit, count: int, index: int, zone: str, expected: str) -> None:
    assert bound(_utc(start), unit, count, index, zone) == _utc(expected)


def test_a_bound_is_in_utc_whatever_the_start_was_written_in() -> None:
    start = datetime(2026, 10, 1, tzinfo=ZoneInfo("Europe/Berlin"))

    assert nth_period(start, Unit.MONTH, 1, 0, "Europe/Berlin").start.tzinfo is UTC


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 15 * 365 * 24 * 60),  # Minutes of 2020 to 2034.
    unit=st.sampled_from(Unit),
    count=st.integers(1, 40),
    zone=st.sampled_from(ZONES),
    offset=st.timedeltas(timedelta(0), timedelta(days=60)),
)
def test_every_instant_is_in_exactly_one_period(
    start: int, unit: Unit, count: int, zone: str, offset: timedelta
) -> None:
    begin = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=start)
    periods = [nth_period(begin, unit, count, index, zone) for index in range(64)]

    assert periods[0].start == begin
    assert all(a.end == b.start for a, b in pairwise(periods))
    assert sum(begin + offset in period for period in periods) == 1
