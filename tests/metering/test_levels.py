"""Time-weighted sums: a level goes on from its event until the next one."""

from datetime import datetime, timedelta
from decimal import Decimal
from unittest.mock import patch

import pytest
from django.db import connection

from billing_project.kernel import outbox
from billing_project.kernel.approvals import approve
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from metering.models import AppliedRepair, Customer, Meter, UsageLevel, UsageWindow
from metering.replay_sql import Span
from metering.selectors.events import events_of_window
from metering.selectors.usage import Granularity, usage
from metering.selectors.windows import period_quantity
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches, carry_idle_hours
from metering.services.meters import create_meter_version
from metering.services.repairing import apply_repair, propose_repair
from metering.services.replaying import replay_chunk
from tests.metering.builders import EVENT_NAME, a_customer, a_meter, an_event, send
from tests.metering.late import a_person

pytestmark = pytest.mark.django_db

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)


def _seats(at: datetime, identifier: str, minutes: int, seats: str, workspace: str = "") -> None:
    moment = at + minutes * _MINUTE
    properties = {"model": "haiku", "tokens": seats}
    send(moment, an_event(
        identifier, timestamp=moment, workspace=workspace, properties=properties
    ))  # fmt: skip


@pytest.fixture
def used(at: datetime) -> tuple[Customer, Meter]:
    """Set 10 seats at 12:30, 4 at 12:45 and 6 at 14:00."""
    customer, meter = a_customer(at), a_meter(at, "time_weighted_sum", unit="seat-hour")
    _seats(at, "a", 30, "10")
    _seats(at, "b", 45, "4")
    _seats(at, "c", 120, "6")
    aggregate_batches(at=at + 2 * _HOUR)
    return customer, meter


def _quantities() -> list[Decimal]:
    rows = UsageWindow.objects.order_by("start_at")
    assert [row.start_at for row in rows] == [
        rows[0].start_at + hour * _HOUR for hour in range(len(rows))
    ]
    return [row.quantity.normalize() for row in rows]


def _findings() -> list[object]:
    results = [one for one in run_checks() if one.name.startswith("metering.")]
    return [finding for one in results for finding in one.findings]


def test_a_level_is_weighed_by_the_time_that_it_lasts(used: tuple[Customer, Meter]) -> None:
    # 10 x 1/4 + 4 x 1/4 seat-hours; 4 all hour; 6 to the end of the hour that has begun.
    assert _quantities() == [Decimal("3.5"), 4, 6]
    assert UsageLevel.objects.get().level == 6
    assert _findings() == []


def test_idle_hours_are_carried_to_the_last_whole_one(
    at: datetime, used: tuple[Customer, Meter]
) -> None:
    customer, _ = used
    outbox.take("usage_changed", customer.pk)
    now = at + 5 * _HOUR + 59 * _MINUTE

    written = [carry_idle_hours(at=now), carry_idle_hours(at=now)]

    assert written == [2, 0]
    assert _quantities() == [Decimal("3.5"), 4, 6, 6, 6]
    assert outbox.waiting("usage_changed") == [customer.pk]
    assert _findings() == []


def test_a_level_of_nothing_is_not_carried(at: datetime, used: tuple[Customer, Meter]) -> None:
    _seats(at, "end", 150, "0")
    aggregate_batches(at=at + 3 * _HOUR)

    assert carry_idle_hours(at=at + 9 * _HOUR) == 0
    assert _quantities() == [Decimal("3.5"), 4, 3]
    _seats(at, "again", 600, "2")
    aggregate_batches(at=at + 11 * _HOUR)
    assert UsageWindow.objects.count() == 4
    assert _findings() == []


def test_a_level_is_carried_for_months_at_once(at: datetime, used: tuple[Customer, Meter]) -> None:
    assert carry_idle_hours(at=at + timedelta(days=70)) == 70 * 24 - 3
    assert _findings() == []


def test_a_late_event_corrects_the_hours_after_it(
    at: datetime, used: tuple[Customer, Meter]
) -> None:
    carry_idle_hours(at=at + 5 * _HOUR)
    _seats(at, "late", 75, "20")

    aggregate_batches(at=at + 5 * _HOUR)

    # 13:00 to 13:15 at 4, then 20 until the 6 of 14:00.
    assert _quantities() == [Decimal("3.5"), 16, 6, 6, 6]
    assert _findings() == []


def test_what_comes_before_everything_else_begins_earlier(
    at: datetime, used: tuple[Customer, Meter]
) -> None:
    _seats(at, "first", -60, "1")

    aggregate_batches(at=at + 3 * _HOUR)

    assert _quantities() == [1, 4, 4, 6]
    assert _findings() == []


def test_a_cancelled_level_gives_way_to_the_one_before(
    at: datetime, used: tuple[Customer, Meter], engineer: User
) -> None:
    customer, _ = used
    carry_idle_hours(at=at + 5 * _HOUR)

    cancel_event(customer=customer, identifier="c", reason="x", by=engineer, at=at)

    assert _quantities() == [Decimal("3.5"), 4, 4, 4, 4]
    assert UsageLevel.objects.get().level == 4
    cancel_event(customer=customer, identifier="b", reason="x", by=engineer, at=at)
    cancel_event(customer=customer, identifier="a", reason="x", by=engineer, at=at)
    assert _quantities() == [0] * 5
    assert _findings() == []


def test_an_amended_level_moves_to_its_new_key(
    at: datetime, used: tuple[Customer, Meter], engineer: User
) -> None:
    customer, _ = used

    amend_event(
        customer=customer, identifier="b", properties={"model": "opus", "tokens": "2"},
        reason="x", by=engineer, at=at,
    )  # fmt: skip
    carry_idle_hours(at=at + 3 * _HOUR)

    rows = UsageWindow.objects.order_by("dimensions__model", "start_at")
    assert [row.quantity for row in rows] == [5, 10, 6, Decimal("0.5"), 2, 2]
    assert _findings() == []


def test_events_of_one_instant_follow_their_identifiers(
    at: datetime, used: tuple[Customer, Meter]
) -> None:
    _seats(at, "D", 120, "1")  # Before "c": capitals come first.

    aggregate_batches(at=at + 3 * _HOUR)

    assert UsageLevel.objects.get().level == 6
    assert UsageWindow.objects.latest("start_at").event_count == 2
    assert _findings() == []


def test_workspaces_have_levels_of_their_own(at: datetime, used: tuple[Customer, Meter]) -> None:
    _seats(at, "w", 120, "3", workspace="prod")

    aggregate_batches(at=at + 3 * _HOUR)

    assert sorted(UsageLevel.objects.values_list("level", flat=True)) == [3, 6]
    assert _findings() == []


def test_each_window_is_rounded_as_declared(at: datetime) -> None:
    a_customer(at)
    a_meter(at, "time_weighted_sum", rounding_mode="up", rounding_decimals=1)
    _seats(at, "a", 1, "1")

    aggregate_batches(at=at + _HOUR)
    carry_idle_hours(at=at + 2 * _HOUR)

    assert _quantities() == [1, 1]  # 59 minutes are 0.983 hours.
    assert _findings() == []


def test_a_level_goes_on_into_the_next_version(
    at: datetime, used: tuple[Customer, Meter], engineer: User
) -> None:
    _, meter = used
    create_meter_version(
        meter=meter, effective_at=at + 3 * _HOUR, event_name=EVENT_NAME, value_property="seats",
        dimensions=("model",), rounding_decimals=0, reason="x", by=engineer, at=at + 2 * _HOUR,
    )  # fmt: skip
    moment = at + 4 * _HOUR + 20 * _MINUTE
    send(moment, an_event("d", timestamp=moment, properties={"model": "haiku", "seats": "1"}))

    aggregate_batches(at=moment)

    # 6 until 16:20, then 1: 2 + 2/3.
    assert _quantities() == [Decimal("3.5"), 4, 6, 6, 3]
    assert _findings() == []


@pytest.mark.parametrize(
    ("identifier", "seats", "quantities"),
    [
        ("a", "20", [11, 12, 4]),  # 2, then 20 until 13:30.
        ("a", None, [2, 3, 4]),
        ("b", "6", [6, 8, 6]),
        ("b", None, [6, 10, 10]),  # What the first version read goes on.
    ],
)
def test_a_corrected_level_goes_on_into_a_version_that_reads_other_events(
    at: datetime, engineer: User, identifier: str, seats: str | None, quantities: list[int]
) -> None:
    customer, meter = a_customer(at), a_meter(at, "time_weighted_sum", unit="seat-hour")
    create_meter_version(
        meter=meter, effective_at=at + _HOUR, event_name="seats_set", value_property="tokens",
        dimensions=("model",), reason="x", by=engineer, at=at,
    )  # fmt: skip
    _seats(at, "first", 0, "2")
    _seats(at, "a", 30, "10")
    moment = at + 90 * _MINUTE
    properties = {"model": "haiku", "tokens": "4"}
    send(
        moment, an_event("b", event_name="seats_set", timestamp=moment, properties=properties)
    )  # fmt: skip
    now = at + 3 * _HOUR
    aggregate_batches(at=now)
    carry_idle_hours(at=now)
    assert _quantities() == [6, 7, 4]

    if seats is None:
        cancel_event(customer=customer, identifier=identifier, reason="x", by=engineer, at=now)
    else:
        amend_event(
            customer=customer, identifier=identifier, reason="x", by=engineer, at=now,
            properties={"model": "haiku", "tokens": seats},
        )  # fmt: skip

    assert _quantities() == quantities
    assert _findings() == []


def test_another_split_of_levels_is_another_meter(
    at: datetime, used: tuple[Customer, Meter], engineer: User
) -> None:
    with pytest.raises(Conflict):
        create_meter_version(
            meter=used[1], effective_at=at + 5 * _HOUR, event_name=EVENT_NAME,
            value_property="tokens", dimensions=(), reason="x", by=engineer, at=at,
        )  # fmt: skip


def test_a_period_and_usage_add_the_hours_up(at: datetime, used: tuple[Customer, Meter]) -> None:
    customer, meter = used
    carry_idle_hours(at=at + 4 * _HOUR)
    window = UsageWindow.objects.select_related("meter").earliest("start_at")

    days = usage(customer, meter, at, at + 12 * _HOUR, Granularity.DAY)

    assert period_quantity(window, at, at + 12 * _HOUR) == Decimal("19.5")
    assert [row.quantity for row in days] == [Decimal("19.5")]


def test_a_carried_hour_comes_of_the_event_before(
    at: datetime, used: tuple[Customer, Meter]
) -> None:
    carry_idle_hours(at=at + 5 * _HOUR)
    hours = list(UsageWindow.objects.select_related("meter").order_by("start_at"))

    names = [[event.identifier for event in events_of_window(hour)] for hour in hours]

    assert names == [["a", "b"], ["b"], ["c"], ["c"], ["c"]]


def test_replay_weighs_levels_anew(at: datetime, used: tuple[Customer, Meter]) -> None:
    carry_idle_hours(at=at + 5 * _HOUR)
    customer, _ = used
    spans = [(at, at + 5 * _HOUR), (at + 3 * _HOUR, at + 4 * _HOUR)]

    assert [replay_chunk(Span(*span, (customer.pk,))) for span in spans] == [[], []]

    UsageWindow.objects.filter(event_count=0).update(quantity=1)
    found = replay_chunk(Span(at, at + 5 * _HOUR, (customer.pk,)))
    pairs = [(one.stored_quantity, one.quantity) for one in found]
    assert pairs == [(Decimal(1), Decimal(said)) for said in (4, 6, 6)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usage_window SET quantity = quantity + 1 WHERE event_count = 0",
        "DELETE FROM usage_window WHERE event_count = 0",
        "UPDATE usage_level SET level = 7",
        "UPDATE usage_level SET settled_until = settled_until - interval '1 hour'",
    ],
)
def test_what_was_forged_is_found(
    at: datetime, used: tuple[Customer, Meter], statement: str
) -> None:
    carry_idle_hours(at=at + 4 * _HOUR)
    with connection.cursor() as cursor:
        cursor.execute(statement)

    assert _findings()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usage_window SET quantity = quantity + 1",
        "DELETE FROM usage_window WHERE event_count = 0",
        "DELETE FROM usage_window",
        "UPDATE usage_window SET event_count = 0; UPDATE usage_level SET level = 7",
        "UPDATE usage_level SET level = 0, settled_until = settled_until - interval '4 hours';"
        " DELETE FROM usage_window WHERE start_at > (SELECT min(start_at) FROM usage_window)",
    ],
)
def test_an_approved_repair_settles_the_level_that_goes_on(
    at: datetime, used: tuple[Customer, Meter], statement: str
) -> None:
    """Not only the windows that differ: the hours after them are carried from the right level."""
    engineer, approver = a_person("ed", "engineering"), a_person("anna", "finance_approver")
    carry_idle_hours(at=at + 4 * _HOUR)
    right = _quantities()
    with connection.cursor() as cursor:
        cursor.execute(statement)
    found = replay_chunk(Span(at, at + 4 * _HOUR, (used[0].pk,)))
    repair = propose_repair(differences=found, reason="forged", by=engineer, at=at)
    approve(change=repair.policy_change, by=approver, reason="checked", at=at)
    repair.refresh_from_db()

    apply_repair(repair=repair, by=engineer, at=at)

    assert _findings() == []
    assert _quantities() == right[: len(_quantities())]  # Idle hours may wait to be carried.
    carry_idle_hours(at=at + 6 * _HOUR)
    assert _quantities() == [*right, Decimal(6), Decimal(6)]


def test_a_repair_that_events_do_not_bear_out_any_more_is_refused(
    at: datetime, used: tuple[Customer, Meter]
) -> None:
    engineer, approver = a_person("ed", "engineering"), a_person("anna", "finance_approver")
    UsageWindow.objects.filter(event_count=0).update(quantity=1)
    found = replay_chunk(Span(at, at + 3 * _HOUR, (used[0].pk,)))
    repair = propose_repair(differences=found, reason="forged", by=engineer, at=at)
    approve(change=repair.policy_change, by=approver, reason="checked", at=at)
    repair.refresh_from_db()
    _seats(at, "late", 50, "9")  # Of the hour before; the window that differs is as it was.

    settle = patch("metering.services.repairing.settle_locked", lambda *_: aggregate_batches(at=at))
    with settle, pytest.raises(Conflict, match="changed since the replay"):
        apply_repair(repair=repair, by=engineer, at=at)

    assert not AppliedRepair.objects.exists()
