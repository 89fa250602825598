"""Versions of a meter: events are read by the one in force at their own time."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import AuditEntry, User
from metering.models import Customer, Meter, MeterVersion, QuarantinedEvent, UsageWindow
from metering.selectors.meters import meter_rules, rule_at, rules_of, version_in_force
from metering.selectors.windows import period_quantity
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.meters import create_meter_version, withdraw_meter_version
from tests.metering.builders import EVENT_NAME, a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db

_H = timedelta(hours=1)


def _version(meter: Meter, at: datetime, by: User, hours: int = 1, **changes: Any) -> MeterVersion:
    values: dict[str, Any] = {
        "event_name": EVENT_NAME, "value_property": "tokens", "dimensions": ("model",),
        "reason": "the app sends seats now", **changes,
    }  # fmt: skip
    return create_meter_version(meter=meter, effective_at=at + hours * _H, by=by, at=at, **values)


def _use(
    at: datetime, identifier: str, hours: int = 0, minutes: int = 0, **properties: str
) -> None:
    moment = at + timedelta(hours=hours, minutes=minutes)
    event = an_event(
        identifier, timestamp=moment, properties={"model": "haiku", "tokens": "100", **properties}
    )
    assert send(moment, event).rejected == 0


def _quantities() -> list[tuple[datetime, str | None, Decimal]]:
    rows = UsageWindow.objects.filter(event_count__gt=0).order_by("start_at")
    return [(row.start_at, row.dimensions.get("model"), row.quantity) for row in rows]


def _findings() -> list[object]:
    results = [one for one in run_checks() if one.name.startswith("metering.")]
    return [finding for one in results for finding in one.findings]


def test_events_are_read_by_the_version_in_force_at_their_time(
    at: datetime, engineer: User
) -> None:
    a_customer(at)
    meter = a_meter(at)
    _version(meter, at, engineer, value_property="seats", dimensions=())
    _use(at, "new", hours=1, seats="7")
    _use(at, "old", minutes=59, seats="5")  # Comes after, but was used before.

    aggregate_batches(at=at + 2 * _H)

    assert _quantities() == [(at, "haiku", Decimal(100)), (at + _H, None, Decimal(7))]
    assert _findings() == []


def test_adjustments_follow_the_version_of_the_event(at: datetime, engineer: User) -> None:
    customer = a_customer(at)
    meter = a_meter(at)
    _version(meter, at, engineer, value_property="seats")
    _use(at, "old", tokens="100")
    _use(at, "new", hours=1, seats="7")
    aggregate_batches(at=at + 2 * _H)

    amend_event(
        customer=customer, identifier="new", properties={"model": "opus", "seats": "3"},
        reason="x", by=engineer, at=at,
    )  # fmt: skip
    cancel_event(customer=customer, identifier="old", reason="x", by=engineer, at=at)

    assert _quantities() == [(at + _H, "opus", Decimal(3))]
    assert _findings() == []


def test_an_event_is_judged_by_the_version_of_its_time(at: datetime, engineer: User) -> None:
    a_customer(at)
    meter = a_meter(at)
    _version(meter, at, engineer, value_property="seats")

    _use(at, "before")
    _use(at, "after", hours=1)

    assert [row.detail for row in QuarantinedEvent.objects.all()] == [
        "meter tokens_sum reads seats, which is not there"
    ]


@pytest.mark.parametrize("aggregation", ["max", "min", "last", "unique"])
def test_what_is_read_anew_is_read_by_each_hours_version(
    at: datetime, engineer: User, aggregation: str
) -> None:
    a_customer(at)
    meter = a_meter(at, aggregation)
    _version(meter, at, engineer, value_property="seats")
    _use(at, "a", tokens="9", seats="1")
    _use(at, "b", minutes=1, tokens="4", seats="2")
    _use(at, "c", hours=1, tokens="9", seats="4")
    _use(at, "d", hours=1, minutes=1, tokens="9", seats="3")

    aggregate_batches(at=at + 2 * _H)

    # By tokens 9, 4 in the first hour, by seats 4, 3 in the second.
    hours = {"max": [9, 4], "min": [4, 3], "last": [4, 3], "unique": [2, 2]}
    period = {"max": 9, "min": 3, "last": 3, "unique": 3}
    assert [quantity for _, _, quantity in _quantities()] == hours[aggregation]
    window = UsageWindow.objects.select_related("meter").earliest("start_at")
    assert period_quantity(window, at, at + 2 * _H) == period[aggregation]
    assert _findings() == []


def test_a_constant_and_rounding_are_of_the_version(at: datetime, engineer: User) -> None:
    a_customer(at)
    meter = a_meter(at, rounding_mode="up", rounding_decimals=1)
    _version(meter, at, engineer, value_property="", constant_value=Decimal("0.5"))
    for i in range(3):
        _use(at, f"old{i}", tokens="1.01")
        _use(at, f"new{i}", hours=1)

    aggregate_batches(at=at + 2 * _H)

    # Three times 1.1, then three times 0.5.
    assert [quantity for _, _, quantity in _quantities()] == [Decimal("3.3"), Decimal("1.5")]
    assert _findings() == []


def test_rules_name_their_spans(at: datetime, engineer: User) -> None:
    meter = a_meter(at)
    first, second = at + _H, at + 2 * _H
    _version(meter, at, engineer, value_property="seats")
    withdrawn = _version(meter, at, engineer, hours=2, value_property="bytes")
    withdraw_meter_version(version=withdrawn, reason="a mistake", by=engineer, at=at)
    _version(meter, at, engineer, hours=2, event_name="other")

    spans = [(rule.version, rule.start_at, rule.end_at) for rule in rules_of(meter)]

    assert spans == [(1, None, first), (2, first, second), (4, second, None)]
    assert rule_at(meter, second - timedelta(microseconds=1)).version == 2
    assert rule_at(meter, second).version == 4
    assert [rule.version for rule in meter_rules(["other"])] == [4]
    assert version_in_force(meter.versions.all(), first).number == 2


def test_history_says_who_and_why(at: datetime, engineer: User) -> None:
    meter = a_meter(at)
    version = _version(meter, at, engineer, value_property="seats")

    assert _version(meter, at, engineer, value_property="seats") == version
    assert (version.number, version.created_by) == (2, engineer)
    entry = AuditEntry.objects.get(action="create_meter_version")
    assert (entry.by, entry.reason) == (engineer, "the app sends seats now")
    assert entry.facts == {"number": 2, "effective_at": "2026-11-20T13:00:00+00:00"}


@pytest.mark.parametrize(
    ("minutes", "changes", "error"),
    [
        (60, {}, Conflict),  # Reads the same.
        (90, {"value_property": "x"}, Invalid),  # Inside an hour.
        (0, {"value_property": "x"}, Invalid), (-60, {"value_property": "x"}, Invalid),
        (60, {"value_property": ""}, Invalid), (60, {"constant_value": Decimal(1)}, Invalid),
        (60, {"value_property": "x", "reason": " "}, Invalid),
        (60, {"value_property": "x", "rounding_decimals": 13}, Invalid),
        (60, {"value_property": "x", "rounding_mode": "odd"}, Invalid),
    ],
)  # fmt: skip
def test_a_senseless_version_is_refused(
    at: datetime, engineer: User, minutes: int, changes: dict[str, Any], error: type[Exception]
) -> None:
    meter = a_meter(at)
    values: dict[str, Any] = {
        "event_name": EVENT_NAME, "value_property": "tokens", "dimensions": ("model",),
        "reason": "why", **changes,
    }  # fmt: skip

    with pytest.raises(error):
        create_meter_version(
            meter=meter, effective_at=at + timedelta(minutes=minutes), by=engineer, at=at, **values
        )


def test_a_version_needs_the_minutes_that_events_may_be_ahead(at: datetime, engineer: User) -> None:
    meter = a_meter(at)

    with pytest.raises(Invalid):
        _version(meter, at + timedelta(minutes=54), engineer, hours=0, value_property="x")
    late = at + timedelta(minutes=54)
    with pytest.raises(Invalid):  # An event of 13:00 may come from 12:55 on.
        create_meter_version(
            meter=meter, effective_at=at + _H, reason="x", by=engineer, at=late,
            event_name=EVENT_NAME, value_property="x",
        )  # fmt: skip


def test_a_later_version_stands_in_the_way(at: datetime, engineer: User) -> None:
    meter = a_meter(at)
    _version(meter, at, engineer, hours=2, value_property="seats")

    with pytest.raises(Conflict):
        _version(meter, at, engineer, hours=1, value_property="bytes")


def test_only_a_future_version_is_withdrawn(at: datetime, engineer: User) -> None:
    meter = a_meter(at)
    version = _version(meter, at, engineer, value_property="seats")

    with pytest.raises(Conflict):
        withdraw_meter_version(version=version, reason="x", by=engineer, at=at + _H)
    with pytest.raises(Invalid):
        withdraw_meter_version(version=version, reason=" ", by=engineer, at=at)
    with pytest.raises(Conflict):
        withdraw_meter_version(version=meter.versions.get(number=1), reason="x", by=engineer, at=at)
    withdrawn = withdraw_meter_version(version=version, reason="a mistake", by=engineer, at=at)

    assert withdraw_meter_version(version=version, reason="x", by=engineer, at=at) == withdrawn
    assert [rule.version for rule in rules_of(meter)] == [1]


@pytest.fixture
def counted(at: datetime, engineer: User) -> Customer:
    """Count an event by the second of three versions."""
    customer = a_customer(at)
    meter = a_meter(at)
    _version(meter, at, engineer, value_property="seats")
    _version(meter, at, engineer, hours=5, value_property="bytes")
    _use(at, "e1", hours=1, seats="1")
    return customer


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meter_version SET value_property = 'other' WHERE number = 3",
        "UPDATE meter_version SET effective_at = effective_at + interval '1 hour'",
        "DELETE FROM meter_version WHERE number = 3",
        "TRUNCATE meter_version",
        "UPDATE meter_version SET withdrawn_at = created_at, withdrawn_by_id = created_by_id,"
        " withdrawal_reason = 'x' WHERE number = 2",  # An event was counted by it.
        "UPDATE meter_version SET withdrawn_at = created_at, withdrawn_by_id = created_by_id,"
        " withdrawal_reason = 'x' WHERE number = 1",
        "UPDATE meter_version SET withdrawn_at = created_at, withdrawn_by_id = created_by_id"
        " WHERE number = 3",  # No reason.
        "UPDATE meter SET aggregation = 'max'",
        "UPDATE meter SET unit = 'seat'",
    ],
)
def test_postgresql_keeps_versions_as_they_were(counted: Customer, statement: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(
    ("number", "effective_at"),
    [
        (5, "2026-11-20T20:00Z"), (2, "2026-11-20T20:00Z"),  # Not the next number.
        (4, "2026-11-20T20:30Z"), (4, "2026-11-20T17:00Z"), (4, "2026-11-20T13:00Z"),
        (4, "2026-11-20T11:00Z"), (4, None),
    ],
)  # fmt: skip
def test_postgresql_refuses_a_version_out_of_order(
    counted: Customer, number: int, effective_at: str | None
) -> None:
    version = MeterVersion.objects.get(number=3)
    version.pk, version.number = None, number
    version.effective_at = (
        datetime.fromisoformat(effective_at).astimezone(UTC) if effective_at else None
    )

    with pytest.raises(DatabaseError), transaction.atomic():
        version.save(force_insert=True)


def test_a_lost_version_is_found(at: datetime) -> None:
    a_meter(at)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE meter_version DISABLE TRIGGER keep_rows")
        cursor.execute("DELETE FROM meter_version")
        cursor.execute("ALTER TABLE meter_version ENABLE ALWAYS TRIGGER keep_rows")

    assert [str(one) for one in _findings() if "lacks a version" in str(one)]
