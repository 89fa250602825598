"""What the windows say: whole periods, spans, lag, and who is meant."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.models import User
from metering.models import Customer, Meter, UsageWindow
from metering.selectors.customers import customer_ids, customer_named
from metering.selectors.events import EventState, event_state, find_event, state_of
from metering.selectors.lag import aggregation_state
from metering.selectors.usage import Granularity, usage
from metering.selectors.windows import period_quantity, windows_in
from metering.services.aggregate import aggregate_batches
from metering.services.customers import add_alias
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db

# (hours before noon, model, tokens): three hours of two days.
_USED = [(0, "haiku", "5"), (1, "haiku", "9"), (1, "opus", "9"), (13, "haiku", "5")]
_START, _END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def _use(at: datetime, aggregation: str) -> tuple[Customer, Meter]:
    customer, meter = a_customer(at), a_meter(at, aggregation)
    for i, (hours, model, tokens) in enumerate(_USED):
        moment = at - timedelta(hours=hours) + timedelta(minutes=i)
        send(at, an_event(
            f"e{i}", timestamp=moment if moment <= at else at,
            properties={"model": model, "tokens": tokens},
        ))  # fmt: skip
    aggregate_batches(at=at)
    return customer, meter


@pytest.mark.parametrize(
    ("aggregation", "quantity"),
    [
        ("sum", 19),  # 5 + 9 + 5 of haiku.
        ("count", 3),
        ("max", 9),
        ("min", 5),
        ("last", 5),  # The one at noon.
        ("unique", 2),  # 5 and 9.
    ],
)
def test_a_period_is_aggregated_by_the_meters_rule(
    at: datetime, aggregation: str, quantity: int
) -> None:
    customer, _ = _use(at, aggregation)
    window = windows_in(customer.pk, _START, _END).filter(dimensions__model="haiku").first()

    assert window is not None
    assert period_quantity(window, _START, _END) == quantity
    assert period_quantity(window, _END, _END + timedelta(days=1)) == 0


@pytest.mark.parametrize(
    ("aggregation", "by_day", "by_model"),
    [
        # The 19th: 5 at 23:03. The 20th: 5 at noon, 9 + 9 at eleven.
        ("sum", [5, 23], {"haiku": 19, "opus": 9}),
        ("count", [1, 3], {"haiku": 3, "opus": 1}),
        ("max", [5, 9], {"haiku": 9, "opus": 9}),
        ("min", [5, 5], {"haiku": 5, "opus": 9}),
        ("last", [5, 5], {"haiku": 5, "opus": 9}),
        ("unique", [1, 2], {"haiku": 2, "opus": 1}),
    ],
)
def test_usage_is_split_as_asked(
    at: datetime, aggregation: str, by_day: list[int], by_model: dict[str, int]
) -> None:
    customer, meter = _use(at, aggregation)

    days = usage(customer, meter, _START, _END, Granularity.DAY)
    models = usage(customer, meter, _START, _END, Granularity.MONTH, ["model"])
    hours = usage(customer, meter, _START, _END, Granularity.HOUR)

    assert [row.quantity for row in days] == by_day
    assert {row.group["model"]: row.quantity for row in models} == by_model
    assert len(hours) == 3
    assert models[0].start_at == _START


def test_usage_refuses_bounds_inside_an_hour(at: datetime) -> None:
    customer, meter = _use(at, "sum")

    with pytest.raises(Invalid):
        usage(customer, meter, _START + timedelta(minutes=1), _END)


def test_windows_of_a_half_open_span_are_listed_in_order(at: datetime) -> None:
    customer, _ = _use(at, "sum")

    starts = [w.start_at for w in windows_in(customer.pk, at - timedelta(hours=13), at)]

    assert starts == sorted(starts)
    assert len(starts) == UsageWindow.objects.count() - 1


def test_lag_is_the_age_of_the_oldest_waiting_batch(at: datetime) -> None:
    a_customer(at)
    a_meter(at)
    send(at, an_event())
    later = at + timedelta(seconds=90, microseconds=5)

    waiting = aggregation_state(later)
    aggregate_batches(at=later)

    assert waiting == (at, Decimal("90.000005"))
    assert aggregation_state(later) == (later, Decimal(0))


def test_an_event_tells_how_far_it_came(at: datetime) -> None:
    customer = a_customer(at)
    a_meter(at)
    send(at, an_event(), an_event("e2", customer="nobody"))
    event = find_event(customer, "e1")
    assert event is not None

    before = event_state(event)
    aggregate_batches(at=at)

    assert (before, event_state(event)) == (EventState.RECEIVED, EventState.AGGREGATED)
    assert state_of("nobody", "e2", None) == EventState.QUARANTINED
    assert find_event(customer, "e9") is None
    with pytest.raises(NotFound):
        state_of("acme", "e9", None)


def test_ids_and_aliases_name_customers(at: datetime, engineer: User) -> None:
    customer = a_customer(at)
    add_alias(external_id="acme-eu", customer=customer, reason="region", by=engineer, at=at)

    assert customer_ids(["acme", "acme-eu", "x"]) == {"acme": customer.pk, "acme-eu": customer.pk}
    assert customer_named("acme-eu") == customer
    with pytest.raises(NotFound):
        customer_named("x")
