"""What a new version would have counted: the same as windows hold once it took effect."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection

from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.period import Period, hour_of, midnight
from metering.models import Meter, MeterVersion, UsageWindow
from metering.selectors import reading_effect as module
from metering.selectors.reading_effect import CustomerEffect, ReadingEffect
from metering.selectors.windows import period_quantity
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches, carry_idle_hours
from metering.services.meters import create_meter_version, preview_meter_version
from metering.services.replaying import chunks, replay_chunk
from tests.metering.builders import EVENT_NAME, a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db

_H = timedelta(hours=1)
_LEVEL = "time_weighted_sum"
# Tokens and seats differ; some hours and both customers; one event of each is adjusted.
_USES = [
    ("a", "acme", -1, {"tokens": "7.25", "seats": "3"}),  # Before the span: levels go on.
    ("b", "acme", 2, {"tokens": "1.04", "seats": "8"}),
    ("c", "acme", 2.5, {"tokens": "11", "seats": "2.55"}),
    ("d", "acme", 4.25, {"tokens": "9", "seats": "6", "tier": "paid"}),
    ("e", "acme", 5, {"tokens": "2", "seats": "2", "tier": "paid", "model": "opus"}),
    ("f", "other", 3, {"tokens": "4", "seats": "5", "tier": "paid"}),
    ("g", "other", 3.5, {"tokens": "5", "seats": "1"}),
    ("h", "other", 6.75, {"tokens": "3", "seats": "5"}),
    ("cancelled", "other", 4, {"tokens": "1000", "seats": "1000", "tier": "paid"}),
    ("amended", "acme", 3, {"tokens": "5000", "seats": "5000"}),
]
_PAID = [{"property": "tier", "operator": "eq", "value": "paid"}]
_CHANGES: dict[str, dict[str, Any]] = {
    "seats": {"value_property": "seats"},
    "paid": {"value_property": "tokens", "filters": _PAID},
    "whole": {"value_property": "tokens", "dimensions": ()},
    "rounded": {"value_property": "seats", "rounding_mode": "up", "rounding_decimals": 0},
    "constant": {"value_property": "", "constant_value": Decimal("0.5")},
}
_CASES = [
    *((kind, "seats") for kind in ("sum", "max", "min", "last", "unique", _LEVEL)),
    *((kind, "paid") for kind in ("sum", "count", "max", "min", "last", "unique")),
    *((kind, "whole") for kind in ("sum", "count", "max", "last", "unique")),
    *((kind, "rounded") for kind in ("sum", "max", _LEVEL)),
    *((kind, "constant") for kind in ("sum", "last", _LEVEL)),
]


def _change(kind: str, name: str) -> dict[str, Any]:
    values = {"event_name": EVENT_NAME, "dimensions": ("model",), **_CHANGES[name]}
    return {**values, "value_property": ""} if kind == "count" else values


def _use(start: datetime, by: User) -> None:
    """Send what was used, adjust two events, and count everything up to a day after."""
    customers = {name: a_customer(start - 3 * _H, name) for name in ("acme", "other")}
    for identifier, customer, hours, properties in _USES:
        moment = start + hours * _H
        send(moment, an_event(
            identifier, customer=customer, timestamp=moment,
            properties={"model": "haiku", **properties},
        ))  # fmt: skip
    cancel_event(
        customer=customers["other"], identifier="cancelled", reason="x", by=by, at=start + 8 * _H
    )
    amend_event(
        customer=customers["acme"], identifier="amended", reason="x", by=by, at=start + 8 * _H,
        properties={"model": "haiku", "tokens": "6", "seats": "7", "tier": "paid"},
    )  # fmt: skip
    aggregate_batches(at=start + 24 * _H)
    while carry_idle_hours(at=start + 24 * _H):
        pass


def _counted(meter: Meter, span: Period) -> dict[str, tuple[Decimal, int]]:
    """Return what windows hold of a span: quantity and keys of each customer."""
    windows = UsageWindow.objects.filter(
        meter=meter, start_at__gte=span.start, start_at__lt=span.end
    ).exclude(event_count=0, quantity=0)
    keys = {(one.customer_id, one.workspace_id, one.dimensions_key): one
            for one in windows.select_related("meter", "customer")}  # fmt: skip
    found: dict[str, tuple[Decimal, int]] = {}
    for window in keys.values():
        quantity, count = found.get(window.customer.external_id, (Decimal(0), 0))
        found[window.customer.external_id] = (
            quantity + period_quantity(window, span.start, span.end), count + 1
        )  # fmt: skip
    return found


def _shown(effect: ReadingEffect, side: str) -> dict[str, tuple[Decimal, int]]:
    parts = {one.customer: getattr(one, side) for one in effect.customers}
    return {name: (part.quantity, part.key_count) for name, part in parts.items() if part.key_count}


@pytest.mark.parametrize(("kind", "name"), _CASES)
def test_a_preview_is_what_windows_hold_once_the_version_took_effect(
    at: datetime, engineer: User, kind: str, name: str
) -> None:
    kept, changed = a_meter(at, kind), a_meter(at, kind, code="changed")
    start = at + 12 * _H
    span, change = Period(start, start + 10 * _H), _change(kind, name)
    create_meter_version(
        meter=changed, effective_at=start, reason="x", by=engineer, at=at, **change
    )
    _use(start, engineer)

    effect = preview_meter_version(meter=kept, at=start + 24 * _H, period=span, **change)

    assert _shown(effect, "after") == _counted(changed, span)
    assert _shown(effect, "before") == _counted(kept, span)
    assert _shown(effect, "before") != _shown(effect, "after")
    replayed = [row for one in chunks(Period(start - 2 * _H, start + 24 * _H))
                for row in replay_chunk(one)]  # fmt: skip
    assert replayed == []


def test_a_preview_says_what_becomes_of_events(at: datetime, engineer: User) -> None:
    meter = a_meter(at)
    _use(at + 12 * _H, engineer)
    span = Period(at + 12 * _H, at + 24 * _H)
    filters = [{"property": "tier", "operator": "exists"}]

    effect = preview_meter_version(
        meter=meter, at=at + 36 * _H, period=span, event_name=EVENT_NAME, value_property="chairs",
        filters=filters,
    )  # fmt: skip

    # Eight events of the span are not cancelled; four of them are paid, none says chairs.
    assert (effect.event_count, effect.kept, effect.gained, effect.lost) == (8, 0, 0, 8)
    assert effect.unreadable == 4
    # 1.04 + 11 + 9 + 2 + 6 of acme, 4 + 5 + 3 of the other.
    assert [(one.customer, one.difference) for one in effect.customers] == [
        ("acme", Decimal("-29.04")), ("other", Decimal(-12))
    ]  # fmt: skip
    assert (effect.before.quantity, effect.difference) == (Decimal("41.04"), Decimal("-41.04"))


def test_a_preview_reads_the_last_whole_month_and_lists_the_largest(
    at: datetime, engineer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CUSTOMERS", 1)
    meter = a_meter(at)
    _use(at + 12 * _H, engineer)

    effect = preview_meter_version(
        meter=meter, at=at + timedelta(days=20), event_name=EVENT_NAME, value_property="seats"
    )

    assert (effect.start, effect.end) == (midnight(at.date().replace(day=1)), midnight(
        at.date().replace(month=12, day=1)
    ))  # fmt: skip
    assert [type(one) for one in effect.customers] == [CustomerEffect]
    assert effect.customer_count == 2
    assert effect.before.quantity == Decimal("48.29")  # 41.04, and 7.25 of before.


def test_a_span_that_cannot_be_read_is_refused(
    at: datetime, engineer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = a_meter(at)
    _use(at + 12 * _H, engineer)
    now = at + 36 * _H + timedelta(minutes=5)

    def refusal(start: datetime, end: datetime) -> str:
        with pytest.raises(Invalid) as caught:
            preview_meter_version(
                meter=meter, at=now, period=Period(start, end), event_name=EVENT_NAME,
                value_property="seats",
            )  # fmt: skip
        return caught.value.message

    assert "whole UTC hours" in refusal(at, now)
    assert "at most 2026-11-22 00:00" in refusal(at, hour_of(now) + _H)
    monkeypatch.setattr(module, "MOST_EVENTS", 8)
    assert "more than 8 events" in refusal(at, at + 24 * _H)
    assert "more than 8" in refusal(at + 12 * _H, at + 24 * _H)  # Nine: the cancelled one too.


def test_a_preview_refuses_what_the_version_would_be_refused_for(at: datetime) -> None:
    meter = a_meter(at, _LEVEL)

    with pytest.raises(Conflict, match="another meter"):
        preview_meter_version(
            meter=meter, at=at, event_name=EVENT_NAME, value_property="tokens", dimensions=()
        )
    with pytest.raises(Invalid):
        preview_meter_version(meter=meter, at=at, event_name=EVENT_NAME)


@pytest.mark.django_db(transaction=True)
def test_a_preview_cannot_write(at: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = a_meter(at)

    def write(span: Period) -> None:
        MeterVersion.objects.filter(meter=meter).update(reason="changed")

    monkeypatch.setattr(module, "_refuse_too_many", write)
    with pytest.raises(DatabaseError, match="read-only transaction"):
        preview_meter_version(meter=meter, at=at, event_name=EVENT_NAME, value_property="seats")
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
