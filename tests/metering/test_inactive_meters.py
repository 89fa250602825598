"""A meter that is deactivated counts nothing more; nothing that was sent meanwhile is lost."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import AuditEntry, User
from metering.models import Meter, MeterVersion, QuarantinedEvent, UsageWindow
from metering.selectors.explaining import explain_event
from metering.selectors.meters import inactive_codes, meter_rules
from metering.selectors.usage import Granularity, usage
from metering.services.aggregate import aggregate_batches, carry_idle_hours
from metering.services.meters import deactivate_meter, reactivate_meter
from metering.services.quarantine import replay_quarantine
from tests.console.backoffice import action_url, client_of, told
from tests.console.backoffice import send as post
from tests.metering.builders import a_customer, a_meter, an_event, send, statuses
from tests.metering.test_api import Caller

pytestmark = pytest.mark.django_db

_H = timedelta(hours=1)


def _stop(meter: Meter, by: User, at: datetime, hours: int = 1) -> MeterVersion:
    return deactivate_meter(
        meter=meter, reason="the app is gone", by=by, at=at, effective_at=at + hours * _H
    )


def _use(at: datetime, identifier: str, tokens: str = "100") -> str:
    event = an_event(identifier, timestamp=at, properties={"model": "haiku", "tokens": tokens})
    return str(statuses(send(at, event), 1)[0])


def _quantities() -> list[tuple[str, Decimal]]:
    rows = UsageWindow.objects.select_related("meter").order_by("start_at", "meter__code")
    return [(row.meter.code, row.quantity.normalize()) for row in rows]


def _findings() -> list[object]:
    results = [one for one in run_checks() if one.name.startswith("metering.")]
    return [finding for one in results for finding in one.findings]


def test_events_of_an_inactive_meter_wait_with_the_reason_and_count_after_a_reactivation(
    at: datetime, engineer: User
) -> None:
    a_customer(at)
    meter = a_meter(at)
    _stop(meter, engineer, at)

    assert [_use(at + 59 * _H / 60, "before"), _use(at + _H, "after")] == [
        "accepted", "quarantined"
    ]  # fmt: skip
    row = QuarantinedEvent.objects.get()
    assert (row.reason, row.detail) == (
        "unknown_event_name",
        "no meter reads llm_request any more: tokens_sum did until 2026-11-20 13:00 UTC;"
        " reactivate it, or map the name to another meter, and replay",
    )
    assert "tokens_sum did until" in explain_event("acme", "after").summary
    assert replay_quarantine(by=engineer, at=at + 2 * _H).still_open == 1

    version = reactivate_meter(meter=meter, reason="a mistake", by=engineer, at=at + 2 * _H)

    assert (version.number, len(meter_rules())) == (1, 1)
    assert replay_quarantine(by=engineer, at=at + 2 * _H).replayed == 1
    aggregate_batches(at=at + 3 * _H)
    assert _quantities() == [("tokens_sum", Decimal(100)), ("tokens_sum", Decimal(100))]
    assert _findings() == []
    actions = AuditEntry.objects.filter(subject=f"meter:{meter.pk}").order_by("id")
    assert [one.action for one in actions][-2:] == ["deactivate_meter", "reactivate_meter"]


def test_a_reactivation_to_come_leaves_a_gap(at: datetime, engineer: User) -> None:
    a_customer(at)
    meter = a_meter(at)
    _stop(meter, engineer, at)

    reactivate_meter(meter=meter, reason="back", by=engineer, at=at + _H, effective_at=at + 3 * _H)

    assert [_use(at + hours * _H, f"e{hours}") for hours in range(4)] == [
        "accepted", "quarantined", "quarantined", "accepted"
    ]  # fmt: skip
    aggregate_batches(at=at + 4 * _H)
    assert len(_quantities()) == 2
    assert [sorted(inactive_codes(at + hours * _H)) for hours in range(4)] == [
        [], ["tokens_sum"], ["tokens_sum"], []
    ]  # fmt: skip
    assert _findings() == []


def test_a_gap_that_another_meter_counted_stays(at: datetime, engineer: User) -> None:
    a_customer(at)
    meter = a_meter(at)
    a_meter(at, "count")
    version = _stop(meter, engineer, at)
    assert _use(at + _H, "counted") == "accepted"
    aggregate_batches(at=at + 2 * _H)

    with pytest.raises(Conflict, match="meter tokens_count reads llm_request since"):
        reactivate_meter(meter=meter, reason="oops", by=engineer, at=at + 2 * _H)
    with pytest.raises(DatabaseError, match="stored already"), transaction.atomic():
        _withdraw_by_hand(version, engineer, at + 2 * _H)

    assert _quantities() == [("tokens_count", Decimal(1))]
    assert _findings() == []


def _withdraw_by_hand(version: MeterVersion, by: User, at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE meter_version SET withdrawn_at = %s, withdrawn_by_id = %s,"
            " withdrawal_reason = 'x' WHERE id = %s",
            [at, by.pk, version.pk],
        )


def test_a_level_counts_nothing_while_its_meter_is_inactive(at: datetime, engineer: User) -> None:
    customer = a_customer(at)
    meter = a_meter(at, "time_weighted_sum", unit="seat-hour")
    _use(at, "seats", "6")
    _stop(meter, engineer, at)
    with pytest.raises(Conflict, match="levels"):
        reactivate_meter(meter=meter, reason="oops", by=engineer, at=at + 2 * _H)
    reactivate_meter(
        meter=meter, reason="back", by=engineer, at=at + 2 * _H, effective_at=at + 3 * _H
    )
    aggregate_batches(at=at + _H)
    carry_idle_hours(at=at + 4 * _H)

    # Six seats from 12 to 13 and from 15 to 16.
    assert _quantities() == [("tokens_time_weighted_sum", Decimal(6))] * 2
    for zone in ("UTC", "Asia/Kathmandu"):  # From windows, and cut from levels.
        rows = usage(customer, meter, at, at + 4 * _H, Granularity.DAY, time_zone=zone)
        assert sum(row.quantity for row in rows) == 12
    assert _findings() == []


def test_what_stands_already_is_returned_and_nonsense_refused(at: datetime, engineer: User) -> None:
    meter = a_meter(at)
    active = reactivate_meter(meter=meter, reason="x", by=engineer, at=at)
    assert active.number == 1

    version = deactivate_meter(meter=meter, reason="x", by=engineer, at=at)

    assert version.effective_at == at + _H  # Five minutes ahead and one on its way.
    assert _stop(meter, engineer, at) == version
    with pytest.raises(Conflict, match="deactivated from 2026-11-20 13:00"):
        _stop(meter, engineer, at, hours=2)
    for stop in (deactivate_meter, reactivate_meter):
        with pytest.raises(Invalid, match="reason"):
            stop(meter=meter, reason=" ", by=engineer, at=at)
    with pytest.raises(Invalid, match="whole hour"):
        reactivate_meter(
            meter=meter, reason="x", by=engineer, at=at, effective_at=at + 90 * _H / 60
        )


def test_meters_are_deactivated_over_the_api(at: datetime, settings: Any) -> None:
    settings.BILLING_CLOCK = at.isoformat()
    meter = a_meter(at)
    api = Caller("admin", "usage:read")

    stopped = api.post(f"meters/{meter.code}/deactivate", {"reason": "the app is gone"})
    listed = api.get("meters").json()["data"][0]
    again = api.post(f"meters/{meter.code}/reactivate", {"reason": "a mistake"})

    assert (stopped.status_code, stopped.json()["is_active"]) == (201, False)
    assert listed["deactivated_at"] == stopped.json()["effective_at"] == "2026-11-20T13:00:00Z"
    assert (again.status_code, again.json()["number"]) == (201, 1)
    assert api.get("meters").json()["data"][0]["deactivated_at"] is None


def test_engineering_deactivates_a_meter(at: datetime, settings: Any, engineer: User) -> None:
    settings.BILLING_CLOCK = at.isoformat()
    meter, client = a_meter(at), client_of(engineer)
    when = {"effective_at_0": "2026-11-20", "effective_at_1": "14:00:00"}

    stopped = post(client, action_url(meter, "deactivate"), **when, reason="the app is gone")
    shown = client.get(f"/admin/metering/meter/{meter.pk}/change/").content.decode()
    back = post(
        client, action_url(meter, "reactivate"), effective_at_0="", effective_at_1="", reason="oops"
    )

    assert told(stopped) == "success: tokens_sum counts nothing from 2026-11-20 14:00:00 on."
    assert "waits, inactive then" in shown
    assert told(back) == "success: tokens_sum is read by version 1 again."
