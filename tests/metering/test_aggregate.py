"""Usage windows are a function of the set of events, not of the order in which they came."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_project.kernel import outbox
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict
from billing_project.kernel.users import worker_user
from metering.aggregation import dimensions_key
from metering.models import Aggregation, Customer, EventBatch, Meter, UsageWindow
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches, carry_idle_hours
from metering.services.meters import create_meter_version
from tests.metering.builders import EVENT_NAME, a_customer, a_meter, an_event, send
from tests.metering.model import Report, Windows, windows

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def _quantities() -> Windows:
    says_something = Q(event_count__gt=0) | Q(quantity__gt=0)
    rows = UsageWindow.objects.filter(says_something).select_related("meter")
    return {
        (row.meter.aggregation, row.dimensions["model"], row.start_at): (
            row.quantity,
            row.event_count,
        )
        for row in rows
    }


def test_a_batch_is_added_to_the_window_of_its_hour(at: datetime) -> None:
    customer = a_customer(at)
    meter = a_meter(at)
    send(at, an_event("a", workspace="prod"), an_event("b", workspace="prod"))

    taken = aggregate_batches(at=at)

    window = UsageWindow.objects.get()
    assert taken == 1
    assert (window.customer, window.meter, window.start_at) == (customer, meter, at)
    assert window.workspace is not None
    assert window.workspace.external_id == "prod"
    assert window.dimensions == {"model": "haiku"}
    assert (window.quantity, window.event_count, window.revision) == (Decimal(200), 2, 1)
    assert EventBatch.objects.get().aggregated_at == at


def test_a_batch_is_taken_once(at: datetime) -> None:
    a_customer(at)
    a_meter(at)
    send(at, an_event())

    assert [aggregate_batches(at=at), aggregate_batches(at=at)] == [1, 0]
    assert UsageWindow.objects.get().quantity == 100


def test_the_next_batch_adds_a_revision_and_leaves_a_note(at: datetime) -> None:
    customer = a_customer(at)
    a_meter(at)
    send(at, an_event("a"))
    aggregate_batches(at=at)
    send(at, an_event("b"))
    aggregate_batches(at=at)

    window = UsageWindow.objects.get()
    assert (window.quantity, window.revision) == (Decimal(200), 2)
    assert outbox.waiting("usage_changed") == [customer.pk]


def test_the_limit_counts_batches(at: datetime) -> None:
    a_customer(at)
    a_meter(at)
    for i in range(5):
        send(at, an_event(f"e{i}"))

    assert [aggregate_batches(at=at, limit=3), aggregate_batches(at=at, limit=3)] == [3, 2]


def test_one_event_feeds_every_meter_of_its_name(at: datetime) -> None:
    a_customer(at)
    a_meter(at, code="input", value_property="input_tokens")
    a_meter(at, code="output", value_property="output_tokens")
    a_meter(at, "count", code="requests", dimensions=())
    send(at, an_event(properties={"model": "x", "input_tokens": "7", "output_tokens": 3}))

    aggregate_batches(at=at)

    rows = UsageWindow.objects.values_list("meter__code", "quantity", "dimensions")
    assert sorted(rows) == [
        ("input", Decimal(7), {"model": "x"}),
        ("output", Decimal(3), {"model": "x"}),
        ("requests", Decimal(1), {}),
    ]


def test_a_meter_counts_what_is_stored_after_it_was_made(at: datetime) -> None:
    a_customer(at)
    a_meter(at)
    send(at, an_event("before"))
    a_meter(at, "count")
    send(at, an_event("after"))

    aggregate_batches(at=at)

    counted = UsageWindow.objects.get(meter__code="tokens_count")
    assert counted.quantity == 1


def test_a_value_that_nobody_judged_cannot_stop_the_aggregator(at: datetime) -> None:
    a_customer(at)
    meter = a_meter(at)
    send(at, an_event(properties={"model": "x", "tokens": "1", "seats": "abc"}))
    # A meter that was committed while the event was on its way: no capture judged `seats`.
    version = meter.versions.get()
    meter.pk, meter.code = None, "seats"
    meter.save(force_insert=True)
    version.pk, version.meter, version.value_property = None, meter, "seats"
    version.save(force_insert=True)

    assert aggregate_batches(at=at) == 1
    assert UsageWindow.objects.get().meter.code == "tokens_sum"


def test_exact_decimals_survive(at: datetime) -> None:
    a_customer(at)
    a_meter(at)
    big = "999999999999999999999999.999999999999"
    send(at, *(an_event(f"e{i}", properties={"model": "x", "tokens": big}) for i in range(200)))

    aggregate_batches(at=at)

    # 200 x 999999999999999999999999.999999999999
    assert UsageWindow.objects.get().quantity == Decimal("199999999999999999999999999.9999999998")


def test_dimensions_are_text_and_may_be_absent(at: datetime) -> None:
    a_customer(at)
    a_meter(at, "count", dimensions=("region", "model"))
    send(at, an_event(properties={"model": 'q"\\é\u2028\n', "region": True}))
    send(at, an_event("e2", properties={"region": Decimal("1.50")}))

    aggregate_batches(at=at)

    rows = list(UsageWindow.objects.order_by("dimensions__region"))
    assert [row.dimensions for row in rows] == [
        {"model": None, "region": "1.50"},
        {"model": 'q"\\é\u2028\n', "region": "true"},
    ]
    assert all(row.dimensions_key == dimensions_key(row.dimensions) for row in rows)


def test_filters_choose_the_events(at: datetime) -> None:
    a_customer(at)
    for operator, value in (("eq", "opus"), ("ne", "opus"), ("in", ["opus", "haiku"])):
        condition = {"property": "model", "operator": operator, "value": value}
        a_meter(at, "count", code=f"c_{operator}", filters=[condition], dimensions=())
    for operator in ("exists", "absent"):
        condition = {"property": "model", "operator": operator}
        a_meter(at, "count", code=f"c_{operator}", filters=[condition], dimensions=())
    models = ["opus", "haiku", "gpt", None]
    for i, model in enumerate(models):
        send(at, an_event(f"e{i}", properties={} if model is None else {"model": model}))

    aggregate_batches(at=at)

    rows = dict(UsageWindow.objects.values_list("meter__code", "quantity"))
    assert rows == {"c_eq": 1, "c_ne": 3, "c_in": 2, "c_exists": 3, "c_absent": 1}


# Six events over two hours and two models, each with a value; then cancels and amends; in any
# order, with everything sent twice, aggregated after any step.
_REPORTS = [
    Report(f"e{i}", AT + timedelta(minutes=25 * i), ("haiku", "opus")[i % 2], str(10 + (7 * i) % 4))
    for i in range(6)
]
_Step = tuple[str, Any]
_STEPS: list[_Step] = [
    *[("send", report) for report in _REPORTS],
    *[("send", report) for report in _REPORTS],
    ("cancel", "e1"),
    ("cancel", "e1"),
    ("cancel", "e4"),
    ("amend", ("e0", "opus", "3")),
    ("amend", ("e4", "opus", "99")),
    ("amend", ("e5", "haiku", "0.5")),
    ("aggregate", None),
    ("aggregate", None),
    ("aggregate", None),
    ("carry", 1),
    ("carry", 2),
    ("carry", 3),
]
_ROUNDS_UP_FROM = AT + timedelta(hours=1)  # Second versions.
_PASSED = 5  # Hours until which levels go on in the end.


def _round_up(meter: Meter) -> None:
    create_meter_version(
        meter=meter, effective_at=_ROUNDS_UP_FROM, event_name=EVENT_NAME, value_property="tokens",
        dimensions=("model",), rounding_mode="up", rounding_decimals=0, reason="whole tokens",
        by=worker_user(), at=AT,
    )  # fmt: skip


def _apply(customer: Customer, step: _Step, counted: dict[str, Report | None]) -> None:
    """Do one step, and the same in the model; adjustments of unstored events are skipped."""
    kind, what = step
    if kind == "aggregate":
        aggregate_batches(at=AT)
    elif kind == "carry":
        carry_idle_hours(at=AT + timedelta(hours=what, minutes=30))
    elif kind == "send":
        event = an_event(
            what.identifier, timestamp=what.timestamp,
            properties={"model": what.model, "tokens": what.tokens},
        )  # fmt: skip
        assert send(AT + timedelta(hours=3), event).conflicts == 0
        counted.setdefault(what.identifier, what)
    elif kind == "cancel" and what in counted:
        cancel_event(customer=customer, identifier=what, reason="test", by=worker_user(), at=AT)
        counted[what] = None
    elif kind == "amend" and what[0] in counted:
        identifier, model, tokens = what
        _amend(customer, identifier, model, tokens, counted)


def _amend(
    customer: Customer,
    identifier: str,
    model: str,
    tokens: str,
    counted: dict[str, Report | None],
) -> None:
    try:
        with transaction.atomic():
            amend_event(
                customer=customer, identifier=identifier,
                properties={"model": model, "tokens": tokens},
                reason="test", by=worker_user(), at=AT,
            )  # fmt: skip
    except Conflict:
        assert counted[identifier] is None
        return
    old = counted[identifier]
    assert old is not None
    counted[identifier] = Report(identifier, old.timestamp, model, tokens)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.permutations(_STEPS))
def test_any_order_gives_the_windows_of_the_plain_model(steps: list[_Step], db: None) -> None:
    point = transaction.savepoint()
    customer = a_customer(AT)
    for aggregation in Aggregation.values:
        meter = a_meter(AT, aggregation)
        if aggregation not in (Aggregation.COUNT, Aggregation.UNIQUE):
            _round_up(meter)
    counted: dict[str, Report | None] = {}

    for step in [*steps, ("aggregate", None), ("carry", _PASSED)]:
        _apply(customer, step, counted)

    reports = [report for report in counted.values() if report is not None]
    expected: Windows = {}
    for aggregation in Aggregation.values:
        expected |= windows(
            aggregation, reports, AT + timedelta(hours=_PASSED), rounds_up_from=_ROUNDS_UP_FROM
        )
    assert _quantities() == expected
    checks = [result for result in run_checks() if result.name.startswith("metering.")]
    assert [result.findings for result in checks] == [()] * len(checks)
    transaction.savepoint_rollback(point)
