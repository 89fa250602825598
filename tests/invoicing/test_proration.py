"""Shares of a period: worked examples, then that parts always sum to the whole."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.money import Money
from billing_project.kernel.period import Period
from invoicing.periods import Unit, nth_period
from invoicing.proration import Part, part_of, since

BERLIN = "Europe/Berlin"
ZONES = ["UTC", BERLIN, "America/Santiago", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _period(start: str, end: str) -> Period:
    return Period(_utc(start), _utc(end))


@pytest.mark.parametrize(
    ("period", "part", "zone", "expected"),
    [
        # November has 30 days; 13 November on are 18 of them, after 12.
        (("2026-11-01", "2026-12-01"), ("2026-11-13", "2026-12-01"), "UTC", Part(12, 18, 30)),
        # The day of the change belongs to what begins, at whatever hour.
        (("2026-11-01", "2026-12-01"), ("2026-11-13T23:59", "2026-12-01"), "UTC", Part(12, 18, 30)),
        (("2026-11-01", "2026-12-01"), ("2026-11-01", "2026-11-13T23:59"), "UTC", Part(0, 12, 30)),
        # Two changes on one day: what lasted some hours has no day.
        (("2026-11-01", "2026-12-01"), ("2026-11-13T09:00", "2026-11-13T17:00"), "UTC",
         Part(12, 0, 30)),
        # A period from noon to noon has as many days as its dates are apart.
        (("2026-11-05T12:00", "2026-12-05T12:00"), ("2026-12-05", "2026-12-05T12:00"), "UTC",
         Part(30, 0, 30)),
        # Leap day: February 2028 has 29 days.
        (("2028-02-01", "2028-03-01"), ("2028-02-29", "2028-03-01"), "UTC", Part(28, 1, 29)),
        # October 2026 in Berlin: 31 days and one hour more, for the clocks go back on the 25th.
        (("2026-09-30T22:00", "2026-10-31T23:00"), ("2026-10-25T23:00", "2026-10-31T23:00"), BERLIN,
         Part(25, 6, 31)),
        # 23:30 UTC on 12 November is the 13th in Berlin.
        (("2026-10-31T23:00", "2026-11-30T23:00"), ("2026-11-12T23:30", "2026-11-30T23:00"), BERLIN,
         Part(12, 18, 30)),
        # Anchored to the 31st: 28 February to 31 March is 31 days.
        (("2026-02-28", "2026-03-31"), ("2026-03-15", "2026-03-31"), "UTC", Part(15, 16, 31)),
        (("2026-01-01", "2027-01-01"), ("2026-07-01", "2027-01-01"), "UTC", Part(181, 184, 365)),
    ],
)  # fmt: skip
def test_parts_are_counted_in_local_days(
    period: tuple[str, str], part: tuple[str, str], zone: str, expected: Part
) -> None:
    assert part_of(_period(*period), _period(*part), zone) == expected


@pytest.mark.parametrize(
    ("part", "price", "minor", "text"),
    [
        (Part(12, 18, 30), Money(9_000, "USD"), 5_400, "18 of 30 days x 90.00"),  # 90 x 0.6
        (Part(0, 12, 30), Money(9_000, "USD"), 3_600, "12 of 30 days x 90.00"),
        # 199.00 x 12/31 = 77.0322..., 199.00 x 19/31 = 121.9677...
        (Part(0, 12, 31), Money(19_900, "USD"), 7_703, "12 of 31 days x 199.00"),
        (Part(12, 19, 31), Money(19_900, "USD"), 12_197, "19 of 31 days x 199.00"),
        # 100 yen over 3 days: 33.3, 66.7 and 100 so far.
        (Part(0, 1, 3), Money(100, "JPY"), 33, "1 of 3 days x 100"),
        (Part(1, 1, 3), Money(100, "JPY"), 34, "1 of 3 days x 100"),
        (Part(2, 1, 3), Money(100, "JPY"), 33, "1 of 3 days x 100"),
        (Part(0, 10, 30), Money(1_000, "KWD"), 333, "10 of 30 days x 1.000"),
        (Part(12, 0, 30), Money(9_000, "USD"), 0, "0 of 30 days x 90.00"),
        (Part(12, 18, 30), Money(-9_000, "USD"), -5_400, "18 of 30 days x -90.00"),
    ],
)
def test_a_share_is_days_of_days_of_the_price(
    part: Part, price: Money, minor: int, text: str
) -> None:
    assert part.amount(price) == Money(minor, price.currency)
    assert part.arithmetic(price) == text


def test_the_arithmetic_names_a_quantity_that_is_not_one() -> None:
    assert (
        Part(12, 18, 30).arithmetic(Money(3_000, "USD"), Decimal("3.00"))
        == "18 of 30 days x 3 x 30.00"
    )


def test_credits_are_shared_to_12_decimals() -> None:
    assert Part(12, 18, 30).credits(Decimal(5_000)) == Decimal(3_000)
    # 1000 x 12/31 = 387.096774193548387...; the rest of 1000 is the other part's.
    assert Part(0, 12, 31).credits(Decimal(1_000)) == Decimal("387.096774193548")
    assert Part(12, 19, 31).credits(Decimal(1_000)) == Decimal("612.903225806452")


def test_what_is_left_at_the_start_is_all_of_it() -> None:
    period = _period("2026-11-01T09:30", "2026-12-01T09:30")

    assert since(period, period.start, "UTC").is_whole
    assert since(period, _utc("2026-11-13"), "UTC") == Part(12, 18, 30)


@pytest.mark.parametrize(
    ("period", "part"),
    [
        (("2026-11-01", "2026-12-01"), ("2026-10-31", "2026-11-13")),
        (("2026-11-01", "2026-12-01"), ("2026-11-13", "2026-12-02")),
        (("2026-11-01T08:00", "2026-11-01T20:00"), ("2026-11-01T08:00", "2026-11-01T20:00")),
    ],
)
def test_a_part_outside_and_a_period_within_a_day_are_refused(
    period: tuple[str, str], part: tuple[str, str]
) -> None:
    with pytest.raises(ValueError, match="a part lies within its period"):
        part_of(_period(*period), _period(*part), "UTC")


@settings(max_examples=100, deadline=None)
@given(
    begin=st.integers(0, 15 * 365 * 24 * 60),  # Minutes of 2020 to 2034.
    unit=st.sampled_from(Unit),
    index=st.integers(0, 40),
    cuts=st.lists(st.integers(1, 999_999), max_size=6, unique=True),
    zone=st.sampled_from(ZONES),
    price=st.integers(-(10**15), 10**15),
    credits_=st.decimals(0, 10**12, places=12),
)
def test_parts_sum_to_the_whole_however_a_period_is_cut(
    begin: int,
    unit: Unit,
    index: int,
    cuts: list[int],
    zone: str,
    price: int,
    credits_: Decimal,
) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=begin)
    period = nth_period(start, unit, 1, index, zone)
    length = (period.end - period.start) // timedelta(microseconds=1)
    inner = [period.start + timedelta(microseconds=length * cut // 10**6) for cut in sorted(cuts)]
    bounds = [period.start, *inner, period.end]

    parts = [part_of(period, Period(a, b), zone) for a, b in pairwise(bounds)]

    assert sum(part.days for part in parts) == parts[0].of_days
    assert sum(part.minor(price) for part in parts) == price
    assert sum(part.credits(credits_) for part in parts) == credits_
    assert all(a.before + a.days == b.before for a, b in pairwise(parts))
    assert all(part.minor(abs(price)) >= 0 for part in parts)
    # Cutting a part again gives the same shares: neighbours merge to their sum.
    for a, b in pairwise(parts):
        both = Part(a.before, a.days + b.days, a.of_days)
        assert both.minor(price) == a.minor(price) + b.minor(price)
