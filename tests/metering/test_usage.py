"""Days and months are those of a time zone, whatever its clocks do."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from billing_project.kernel.errors import Invalid
from billing_project.kernel.period import hour_of
from billing_project.kernel.users import worker_user
from metering.models import Customer, Meter
from metering.selectors.usage import Granularity, usage
from metering.services.aggregate import aggregate_batches, carry_idle_hours
from metering.services.meters import create_meter_version
from tests.metering.builders import EVENT_NAME, a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db

_HALF = timedelta(minutes=30)


def _every_half_hour(start: datetime, count: int) -> list[datetime]:
    """Use 1 token at each full and half hour, 10 minutes past."""
    moments = [start + i * _HALF + timedelta(minutes=10) for i in range(count)]
    events = [
        an_event(f"e{i}", timestamp=moment, properties={"model": "haiku", "tokens": "1"})
        for i, moment in enumerate(moments)
    ]
    assert send(start + count * _HALF, *events).accepted == count
    aggregate_batches(at=start + count * _HALF)
    return moments


@pytest.mark.parametrize(
    ("zone", "start", "hours"),
    [
        ("Europe/Berlin", datetime(2026, 3, 27, 23, tzinfo=UTC), {date(2026, 3, 29): 23}),
        ("Europe/Berlin", datetime(2026, 10, 23, 22, tzinfo=UTC), {date(2026, 10, 25): 25}),
        ("America/Havana", datetime(2026, 10, 31, 4, tzinfo=UTC), {date(2026, 11, 1): 25}),
        ("America/Santiago", datetime(2026, 9, 5, 4, tzinfo=UTC), {date(2026, 9, 6): 23}),
        ("Asia/Kolkata", datetime(2026, 11, 1, 18, 30, tzinfo=UTC), {}),
        ("Asia/Kathmandu", datetime(2026, 11, 1, 18, 15, tzinfo=UTC), {}),
        # Its clocks move by half an hour.
        ("Australia/Lord_Howe", datetime(2026, 10, 2, 13, 30, tzinfo=UTC), {}),
        ("UTC", datetime(2026, 11, 1, tzinfo=UTC), {}),
    ],
)
def test_days_are_those_of_the_zone(zone: str, start: datetime, hours: dict[date, int]) -> None:
    customer, meter = a_customer(start), a_meter(start)
    moments = _every_half_hour(start, 144)

    rows = usage(customer, meter, start, hour_of(start) + timedelta(hours=74), time_zone=zone)

    expected: dict[date, int] = defaultdict(int)
    for moment in moments:
        expected[moment.astimezone(ZoneInfo(zone)).date()] += 1
    found = {row.start_at.astimezone(ZoneInfo(zone)).date(): row.quantity for row in rows}
    assert found == expected
    assert {day: found[day] / 2 for day in hours} == hours


def test_months_follow_the_customers_zone(at: datetime) -> None:
    customer, meter = a_customer(at), a_meter(at)
    Customer.objects.filter(pk=customer.pk).update(time_zone="America/New_York")
    customer.refresh_from_db()
    start = datetime(2026, 11, 1, 0, tzinfo=UTC)  # 20:00 of October 31 there.
    _every_half_hour(start, 12)

    own = usage(customer, meter, start, start + timedelta(hours=6), Granularity.MONTH)
    utc = usage(
        customer, meter, start, start + timedelta(hours=6), Granularity.MONTH, time_zone="UTC"
    )

    assert [(row.start_at, row.quantity) for row in own] == [
        (datetime(2026, 10, 1, 4, tzinfo=UTC), Decimal(8)),
        (datetime(2026, 11, 1, 4, tzinfo=UTC), Decimal(4)),
    ]  # fmt: skip
    assert [(row.start_at, row.quantity) for row in utc] == [(start, Decimal(12))]


@pytest.mark.parametrize(
    ("aggregation", "quantities"),
    [
        # 13 half hours of one day in Kolkata, 23 of the next.
        ("sum", [13, 23]), ("count", [13, 23]), ("max", [1, 1]), ("min", [1, 1]),
        ("last", [1, 1]), ("unique", [1, 1]),
    ],
)  # fmt: skip
def test_every_aggregation_is_cut_at_half_past(
    at: datetime, aggregation: str, quantities: list[int]
) -> None:
    customer, meter = a_customer(at), a_meter(at, aggregation)
    _every_half_hour(at, 36)

    rows = usage(customer, meter, at, at + timedelta(hours=18), time_zone="Asia/Kolkata")
    by_model = usage(
        customer, meter, at, at + timedelta(hours=18), group_by=["model"], time_zone="Asia/Kolkata"
    )

    assert [row.quantity for row in rows] == quantities
    assert [row.quantity for row in by_model] == quantities
    assert by_model[0].group == {"model": "haiku"}


def test_levels_are_cut_at_half_past(at: datetime) -> None:
    customer, meter = a_customer(at), a_meter(at, "time_weighted_sum")
    for i, (minutes, seats) in enumerate([(-60, "4"), (380, "10"), (400, "1")]):
        moment = at + timedelta(minutes=minutes)
        event = an_event(f"e{i}", timestamp=moment, properties={"model": "haiku", "tokens": seats})
        send(moment, event)
        aggregate_batches(at=moment)
    carry_idle_hours(at=at + timedelta(hours=9))

    rows = usage(customer, meter, at, at + timedelta(hours=12), time_zone="Asia/Kolkata")

    # 12:00 to 18:20 at 4 and to 18:30 at 10, which is midnight there; to 18:40, then at 1 to 21:00.
    assert [row.quantity for row in rows] == [
        Decimal("27"), (Decimal(10) / 6 + Decimal(14) / 6).quantize(Decimal("1e-12")),
    ]  # fmt: skip


def test_labels_are_those_of_the_version(at: datetime) -> None:
    customer, meter = a_customer(at), a_meter(at, "unique", dimensions=())
    create_meter_version(
        meter=meter, effective_at=at + timedelta(hours=1), event_name=EVENT_NAME,
        value_property="tokens", dimensions=("model",), reason="x", by=worker_user(), at=at,
    )  # fmt: skip
    _every_half_hour(at, 4)

    rows = usage(customer, meter, at, at + timedelta(hours=2), Granularity.HOUR, ["model"])

    assert [(row.group["model"], row.quantity) for row in rows] == [
        (None, Decimal(1)), ("haiku", Decimal(1)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "hours", "granularity", "zone"),
    [
        (datetime(2026, 11, 1, 18, 30, tzinfo=UTC), 24, Granularity.HOUR, "Asia/Kolkata"),
        (datetime(2026, 11, 1, 18, 30, tzinfo=UTC), 24, Granularity.DAY, "Europe/Berlin"),
        (datetime(2026, 11, 1, 18, 20, tzinfo=UTC), 24, Granularity.DAY, "Asia/Kolkata"),
        (datetime(2026, 11, 1, 18, tzinfo=UTC), 0, Granularity.DAY, "UTC"),
        (datetime(1926, 11, 1, 18, tzinfo=UTC), 24 * 36_600, Granularity.DAY, "UTC"),
    ],
)
def test_bounds_are_on_whole_hours(
    at: datetime, start: datetime, hours: int, granularity: Granularity, zone: str
) -> None:
    customer, meter = a_customer(at), a_meter(at)

    with pytest.raises(Invalid):
        usage(customer, meter, start, start + timedelta(hours=hours), granularity, time_zone=zone)


def test_a_day_that_was_skipped_is_not_shown(at: datetime) -> None:
    customer: Customer = a_customer(at)
    meter: Meter = a_meter(at)
    start = datetime(2011, 12, 28, 10, tzinfo=UTC)

    rows = usage(customer, meter, start, start + timedelta(days=5), time_zone="Pacific/Apia")

    assert rows == []
