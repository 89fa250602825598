"""Clocks that skip midnight, a day that never was, leap days, and changes at a bound."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from billing_project.kernel.money import Money
from billing_project.kernel.period import Period, midnight
from invoicing.periods import Unit, bound
from invoicing.phases import Kind, Opening, Standing, Step, Terms, openings
from invoicing.proration import part_of, since

MONTHLY, DAILY, YEARLY = (
    Terms(1, Unit.MONTH, 1), Terms(2, Unit.DAY, 1), Terms(3, Unit.MONTH, 12),
)  # fmt: skip
SKIPS_MIDNIGHT = [
    ("America/Havana", date(2026, 3, 8)),
    ("Asia/Beirut", date(2026, 3, 29)),
    ("Africa/Cairo", date(2026, 4, 24)),
    ("America/Asuncion", date(2023, 10, 1)),
]
REPEATS_MIDNIGHT = [("America/Havana", date(2026, 11, 1)), ("Atlantic/Azores", date(2026, 10, 25))]


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _opened(
    terms: Terms, start: datetime, count: int, *steps: Step, zone: str = "UTC"
) -> list[Opening]:
    found = openings(start, terms, steps, begins=start, is_cut=False, ends_at=None, zone=zone)
    return list(islice(found, count))


@pytest.mark.parametrize(("zone", "day"), SKIPS_MIDNIGHT)
def test_a_day_whose_midnight_is_skipped_begins_an_hour_later_and_counts_once(
    zone: str, day: date
) -> None:
    first = midnight(day, zone)
    local = first.astimezone(ZoneInfo(zone))

    assert (local.date(), local.hour) == (day, 1)
    assert (first - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() < day
    start = midnight(day - timedelta(days=10), zone)
    opened = _opened(DAILY, start, 20, zone=zone)
    assert opened[10].period.start == first
    assert opened[10].period.end - first == timedelta(hours=23)
    month = Period(start, midnight(day + timedelta(days=20), zone))
    left = since(month, first, zone)
    assert (left.before, left.days, left.of_days) == (10, 20, 30)
    used = part_of(month, Period(start, first), zone)
    assert used.amount(Money(1000, "KWD")).amount_minor == 333
    assert used.minor(1000) + left.minor(1000) == 1000


@pytest.mark.parametrize(("zone", "day"), REPEATS_MIDNIGHT)
def test_a_day_whose_midnight_comes_twice_begins_with_the_first(zone: str, day: date) -> None:
    first = midnight(day, zone)
    again = first + timedelta(hours=1)

    opened = _opened(DAILY, midnight(day - timedelta(days=1), zone), 3, zone=zone)

    assert opened[1].period.start == first
    assert opened[1].period.end - first == timedelta(hours=25)
    assert again in opened[1].period


@pytest.mark.parametrize(("zone", "day"), SKIPS_MIDNIGHT)
def test_a_trial_that_ends_at_a_skipped_midnight_is_followed_without_a_gap(
    zone: str, day: date
) -> None:
    start, ends = midnight(day - timedelta(days=14), zone), midnight(day, zone)

    trial, paid, third = _opened(
        MONTHLY, start, 3, Step(start, Kind.TRIAL), Step(ends, Kind.RESUME), zone=zone
    )

    assert (trial.phase.standing, paid.phase.standing) == (Standing.TRIAL, Standing.ACTIVE)
    assert (trial.ends_at, paid.period.start) == (ends, ends)
    # Counted from 01:00, the time of day at which it began.
    assert paid.period.end.astimezone(ZoneInfo(zone)).date().day == day.day
    assert third.period.start == paid.period.end


def test_a_day_that_never_was_has_no_period_and_stops_nothing() -> None:
    zone = "Pacific/Apia"  # 29 December 2011 was followed by the 31st.
    start = midnight(date(2011, 12, 28), zone)

    opened = _opened(DAILY, start, 5, zone=zone)

    assert [one.period.start.astimezone(ZoneInfo(zone)).day for one in opened] == [28, 29, 31, 1, 2]
    assert all(one.period.end - one.period.start == timedelta(days=1) for one in opened)
    assert all(a.period.end == b.period.start for a, b in pairwise(opened))
    monthly = _opened(MONTHLY, midnight(date(2011, 11, 30), zone), 3, zone=zone)
    bounds = [one.period.start.astimezone(ZoneInfo(zone)).date() for one in monthly]
    assert bounds == [date(2011, 11, 30), date(2011, 12, 31), date(2012, 1, 30)]
    month = monthly[0].period
    left = since(month, midnight(date(2011, 12, 29), zone), zone)
    used = part_of(month, Period(month.start, midnight(date(2011, 12, 29), zone)), zone)
    assert used.minor(4900) + left.minor(4900) == 4900


@pytest.mark.parametrize(
    ("start", "ends", "expected"),
    [
        # Ends on the leap day: the months are counted from the 29th.
        ("2028-02-15", "2028-02-29", ["2028-02-29", "2028-03-29", "2028-04-29"]),
        # Begins on it.
        ("2028-02-29", "2028-03-14", ["2028-03-14", "2028-04-14", "2028-05-14"]),
    ],
)
def test_a_trial_that_begins_or_ends_on_a_leap_day(
    start: str, ends: str, expected: list[str]
) -> None:
    steps = Step(_utc(start), Kind.TRIAL), Step(_utc(ends), Kind.RESUME)

    trial, *paid = _opened(MONTHLY, _utc(start), 4, *steps)

    assert (trial.period.start, trial.ends_at) == (_utc(start), _utc(ends))
    assert [one.period.start for one in paid] == [_utc(text) for text in expected]


def test_years_from_a_leap_day_end_on_the_last_of_february_and_find_it_again() -> None:
    bounds = [bound(_utc("2028-02-29"), Unit.MONTH, 12, index, "UTC") for index in range(5)]

    assert [(one.month, one.day) for one in bounds] == [(2, 29), (2, 28), (2, 28), (2, 28), (2, 29)]
    year = _opened(YEARLY, _utc("2027-03-01"), 1)[0].period
    assert since(year, _utc("2028-02-29"), "UTC").days == 1
    assert since(year, year.start, "UTC").of_days == 366


def test_a_pause_over_the_end_of_a_period_is_a_part_of_both() -> None:
    start, pauses, resumes = _utc("2026-11-01"), _utc("2026-11-25"), _utc("2026-12-05")

    opened = _opened(MONTHLY, start, 5, Step(pauses, Kind.PAUSE), Step(resumes, Kind.RESUME))

    assert [(one.period.start, one.phase.standing) for one in opened] == [
        (start, Standing.ACTIVE), (pauses, Standing.PAUSED), (_utc("2026-12-01"), Standing.PAUSED),
        (resumes, Standing.ACTIVE), (_utc("2027-01-01"), Standing.ACTIVE),
    ]  # fmt: skip
    parts = [since(one.interval, one.period.start, "UTC") for one in opened[1:4]]
    assert [(part.days, part.of_days) for part in parts] == [(6, 30), (31, 31), (27, 31)]


@pytest.mark.parametrize("minutes", [-59, -1, 0, 1, 59])
def test_a_change_of_plan_within_an_hour_of_a_bound_leaves_each_instant_in_one_period(
    minutes: int,
) -> None:
    start, end = _utc("2026-11-01"), _utc("2026-12-01")
    at = end + timedelta(minutes=minutes)

    opened = _opened(MONTHLY, start, 4, Step(at, Kind.PLAN, Terms(9, Unit.MONTH, 1)))

    spans = [(one.period.start, one.ends_at) for one in opened]
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert {at, end} <= {begins for begins, _ in spans}
    assert next(one.phase.terms.key for one in opened if one.period.start >= at) == 9
    after = next(one for one in opened if one.period.start == at)
    # A day belongs to what begins on it: before midnight nothing is left of the month but it.
    days = part_of(after.interval, Period(at, after.ends_at), "UTC").days
    assert days == {True: 1, False: 31}[minutes < 0]
