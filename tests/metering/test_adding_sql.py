"""One pass over events adds what each meter reads by itself."""

from datetime import datetime
from decimal import Decimal

import pytest

from billing_project.kernel.books import run_checks
from billing_project.kernel.users import worker_user
from metering import adding_sql
from metering.adding_sql import select_additions
from metering.models import EventBatch, UsageWindow
from metering.selectors.meters import meter_rules
from metering.services.adjust import cancel_event
from metering.services.aggregate import _source, aggregate_batches
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db


def _quantities() -> dict[tuple[str, str], Decimal]:
    rows = UsageWindow.objects.order_by("meter__code", "dimensions_key").select_related("meter")
    return {(row.meter.code, str(row.dimensions.get("model", "*"))): row.quantity for row in rows}


def _some_usage(at: datetime) -> None:
    """Send to meters that share a pass, that cut their windows otherwise, or read other events."""
    a_customer(at)
    for aggregation in ("sum", "count", "max"):
        a_meter(at, aggregation)
    a_meter(at, code="all", dimensions=())
    a_meter(at, code="else", event_name="search")
    only_haiku = ({"property": "model", "operator": "eq", "value": "haiku"},)
    a_meter(at, code="filtered", filters=only_haiku)
    send(
        at,
        an_event("a"),
        an_event("b", properties={"model": "opus", "tokens": "7.5"}),
        an_event("c", properties={"model": "haiku", "tokens": "50"}),
        an_event("d", event_name="search", properties={"tokens": "9"}),
    )


_EXPECTED = {
    ("all", "*"): Decimal("157.5"),
    ("else", "None"): Decimal(9),
    ("filtered", "haiku"): Decimal(150),
    ("tokens_count", "haiku"): Decimal(2),
    ("tokens_count", "opus"): Decimal(1),
    ("tokens_max", "haiku"): Decimal(100),
    ("tokens_max", "opus"): Decimal("7.5"),
    ("tokens_sum", "haiku"): Decimal(150),
    ("tokens_sum", "opus"): Decimal("7.5"),
}


def test_meters_that_share_a_pass_read_what_each_reads_alone(at: datetime) -> None:
    _some_usage(at)

    aggregate_batches(at=at)

    assert _quantities() == _EXPECTED
    assert [result for result in run_checks() if result.findings] == []


def test_more_meters_than_fit_abreast_take_further_passes(
    at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding_sql, "_ABREAST", 2)
    _some_usage(at)

    aggregate_batches(at=at)

    assert _quantities() == _EXPECTED


def test_meters_cut_alike_are_one_pass(at: datetime) -> None:
    for aggregation in ("sum", "count", "max"):
        a_meter(at, aggregation)
    a_meter(at, code="all", dimensions=())

    assert select_additions(meter_rules(), "used").text.count("FROM used e") == 2


def test_adjustments_are_asked_for_only_where_there_are_any(at: datetime) -> None:
    customer = a_customer(at)
    a_meter(at)
    for name in ("a", "b"):
        send(at, an_event(name))
    first, second = EventBatch.objects.order_by("id")
    cancel_event(customer=customer, identifier="b", reason="test", by=worker_user(), at=at)

    assert "used_meter_event" not in _source([first.pk])
    assert "used_meter_event" in _source([first.pk, second.pk])
