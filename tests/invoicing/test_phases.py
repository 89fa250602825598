"""What holds when, and which period begins there: worked examples, then every zone there is."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.period import Period
from invoicing.models.change import ChangeKind
from invoicing.periods import Unit
from invoicing.phases import Kind, Opening, Phase, Standing, Step, Terms, openings, phase_at

START = datetime(2026, 11, 1, tzinfo=UTC)
MONTHLY = Terms(1, Unit.MONTH, 1)
LARGER = Terms(2, Unit.MONTH, 1)
YEARLY = Terms(3, Unit.MONTH, 12)
SPAN = Period(datetime(2020, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC))
ZONES = sorted(available_timezones())


def _day(day: int, month: int = 11, year: int = 2026) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


def _openings(
    steps: Sequence[Step], count: int, start: datetime = START, zone: str = "UTC"
) -> list[Opening]:
    found = openings(start, MONTHLY, steps, begins=start, is_cut=False, ends_at=None, zone=zone)
    return list(islice(found, count))


def _spans(opened: Sequence[Opening]) -> list[tuple[datetime, datetime]]:
    return [(one.period.start, one.ends_at) for one in opened]


def test_the_kinds_are_those_that_are_stored() -> None:
    assert {kind.value for kind in Kind} == set(ChangeKind.values)


def test_an_upgrade_in_mid_period_keeps_the_billing_day() -> None:
    opened = _openings([Step(_day(13), Kind.PLAN, LARGER)], 3)

    assert _spans(opened) == [
        (_day(1), _day(13)), (_day(13), _day(1, 12)), (_day(1, 12), _day(1, 1, 2027)),
    ]  # fmt: skip
    assert [one.phase.terms for one in opened] == [MONTHLY, LARGER, LARGER]
    # The first is opened for the whole month; the second is the rest of the same month.
    assert opened[0].period == Period(_day(1), _day(1, 12))
    assert opened[1].interval == Period(_day(1), _day(1, 12))


def test_a_plan_of_another_interval_begins_a_new_count() -> None:
    opened = _openings([Step(_day(13), Kind.PLAN, YEARLY)], 2)

    assert _spans(opened)[1] == (_day(13), _day(13, 11, 2027))
    assert opened[1].interval == opened[1].period


def test_a_pause_keeps_the_billing_day_and_brings_neither_fee_nor_credits() -> None:
    opened = _openings([Step(_day(13), Kind.PAUSE), Step(_day(20, 12), Kind.RESUME)], 5)

    assert _spans(opened) == [
        (_day(1), _day(13)), (_day(13), _day(1, 12)), (_day(1, 12), _day(20, 12)),
        (_day(20, 12), _day(1, 1, 2027)), (_day(1, 1, 2027), _day(1, 2, 2027)),
    ]  # fmt: skip
    assert [one.phase.standing for one in opened] == [
        Standing.ACTIVE, Standing.PAUSED, Standing.PAUSED, Standing.ACTIVE, Standing.ACTIVE,
    ]  # fmt: skip


def test_the_first_paid_period_begins_where_a_trial_ends() -> None:
    opened = _openings([Step(START, Kind.TRIAL), Step(_day(15), Kind.RESUME)], 3)

    assert _spans(opened) == [
        (_day(1), _day(15)), (_day(15), _day(15, 12)), (_day(15, 12), _day(15, 1, 2027)),
    ]  # fmt: skip
    assert [one.phase.standing for one in opened] == [
        Standing.TRIAL, Standing.ACTIVE, Standing.ACTIVE,
    ]  # fmt: skip


def test_a_change_at_a_bound_cuts_nothing() -> None:
    opened = _openings([Step(_day(1, 12), Kind.PLAN, LARGER)], 2)

    assert _spans(opened) == [(_day(1), _day(1, 12)), (_day(1, 12), _day(1, 1, 2027))]
    assert opened[0].changes_at is None
    assert opened[1].interval == opened[1].period


def test_a_subscription_that_began_on_the_31st_bills_on_each_months_last_day() -> None:
    start = _day(31, 12)
    opened = _openings([Step(_day(10, 2, 2027), Kind.PLAN, LARGER)], 5, start)

    assert [one.ends_at for one in opened] == [
        _day(31, 1, 2027), _day(10, 2, 2027), _day(28, 2, 2027), _day(31, 3, 2027),
        _day(30, 4, 2027),
    ]  # fmt: skip


def test_changes_hold_from_their_instant_on_in_whatever_order_they_are_read() -> None:
    steps = [Step(_day(20), Kind.PLAN, MONTHLY), Step(_day(13), Kind.PLAN, LARGER)]

    assert phase_at(START, MONTHLY, steps, _day(13) - timedelta(microseconds=1)).terms == MONTHLY
    assert phase_at(START, MONTHLY, steps, _day(13)) == Phase(LARGER, Standing.ACTIVE, START)
    assert phase_at(START, MONTHLY, steps, _day(20)).terms == MONTHLY


def test_a_bound_that_moved_with_the_zones_rules_leaves_no_sliver() -> None:
    # The period before ended at 23:00 UTC, by the rules of then; the bound is 22:00 UTC now.
    begins = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    found = openings(
        datetime(2026, 9, 30, 22, tzinfo=UTC), MONTHLY, [], begins=begins, is_cut=False,
        ends_at=None, zone="Europe/Berlin",
    )  # fmt: skip

    assert next(found).period == Period(begins, datetime(2026, 11, 30, 23, tzinfo=UTC))


def _partition(zone: str, start: datetime, terms: Terms, steps: Sequence[Step]) -> None:
    """See that the periods from a start on follow one another through the whole span."""
    found = openings(start, terms, steps, begins=start, is_cut=False, ends_at=SPAN.end, zone=zone)
    bounds = [(one.period.start, one.ends_at) for one in found]

    assert bounds[0][0] == start
    assert bounds[-1][1] == SPAN.end
    assert all(a[1] == b[0] for a, b in pairwise(bounds))
    assert all(a < b for a, b in bounds)
    # Whole intervals of days or months last what they say, give or take a change of the clocks
    # or the days by which months differ.
    assert len(bounds) <= 2 + len(steps) + (SPAN.end - start).days / (
        terms.count * (28 if terms.unit == Unit.MONTH else 1) - 0.3
    )


def _partitions_of(zone: str) -> None:
    """Try the starts that go wrong: month ends, leap days, midnight, in summer and winter."""
    for start in (
        datetime(2020, 1, 31, 23, 30, tzinfo=UTC), datetime(2020, 2, 29, tzinfo=UTC),
        datetime(2020, 3, 29, 1, 30, tzinfo=UTC), datetime(2020, 10, 25, 0, 30, tzinfo=UTC),
    ):  # fmt: skip
        changed = start + timedelta(days=1_000, hours=7)
        steps = [
            Step(changed, Kind.PLAN, LARGER),
            Step(changed + timedelta(days=45), Kind.PAUSE),
            Step(changed + timedelta(days=200, minutes=17), Kind.RESUME),
            Step(changed + timedelta(days=400), Kind.PLAN, Terms(4, Unit.DAY, 30)),
        ]
        _partition(zone, start, MONTHLY, steps)


@pytest.mark.parametrize(
    "zone",
    ["UTC", "Europe/Berlin", "America/Santiago", "Asia/Kathmandu", "Africa/Casablanca"],
)
def test_every_instant_of_2020_to_2035_is_in_exactly_one_period(zone: str) -> None:
    _partitions_of(zone)


@pytest.mark.long
@pytest.mark.parametrize("zone", ZONES)
def test_every_instant_is_in_exactly_one_period_in_every_zone(zone: str) -> None:
    _partitions_of(zone)
    for terms in (Terms(1, Unit.DAY, 1), Terms(1, Unit.MONTH, 1), Terms(1, Unit.DAY, 7)):
        _partition(zone, datetime(2020, 1, 31, 22, 45, tzinfo=UTC), terms, [])


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(0, 3 * 365 * 24 * 60),  # Minutes of 2020 to 2022.
    terms=st.sampled_from([MONTHLY, YEARLY, Terms(5, Unit.DAY, 30), Terms(6, Unit.MONTH, 3)]),
    changes=st.lists(
        st.tuples(st.integers(1, 13 * 365 * 24 * 60), st.sampled_from([*Kind])),
        max_size=5, unique_by=lambda change: change[0],
    ),
)  # fmt: skip
def test_any_changes_leave_each_instant_in_one_period(
    zone: str, start: int, terms: Terms, changes: list[tuple[int, Kind]]
) -> None:
    begin = SPAN.start + timedelta(minutes=start)
    steps = [
        Step(begin + timedelta(minutes=after), kind, YEARLY if kind == Kind.PLAN else None)
        for after, kind in changes
    ]
    steps = [step for step in steps if step.at < SPAN.end]

    _partition(zone, begin, terms, steps)

    found = openings(begin, terms, steps, begins=begin, is_cut=False, ends_at=SPAN.end, zone=zone)
    for one in found:
        assert one.phase == phase_at(begin, terms, steps, one.period.start)
        assert one.interval.start <= one.period.start < one.period.end <= one.interval.end


def test_a_calendar_begins_with_the_rest_of_a_month() -> None:
    terms = Terms(7, Unit.MONTH, 1, is_calendar=True)
    begins = datetime(2026, 1, 31, 10, tzinfo=UTC)

    found = openings(
        begins, terms, [], begins=begins, is_cut=False, ends_at=None, zone="Asia/Tokyo"
    )
    opened = list(islice(found, 3))

    first = datetime(2026, 1, 31, 15, tzinfo=UTC)  # The 1st of February in Tokyo.
    second, third = datetime(2026, 2, 28, 15, tzinfo=UTC), datetime(2026, 3, 31, 15, tzinfo=UTC)
    assert [one.period for one in opened] == [
        Period(begins, first), Period(first, second), Period(second, third),
    ]  # fmt: skip
    assert opened[0].interval == Period(datetime(2025, 12, 31, 15, tzinfo=UTC), first)
    assert [one.interval == one.period for one in opened] == [False, True, True]
