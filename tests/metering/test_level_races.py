"""Many connections at once on one level: the windows are those of one after the other."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.books import run_checks
from billing_project.kernel.users import worker_user
from metering.models import Customer, UsageLevel, UsageWindow
from metering.services.adjust import cancel_event
from metering.services.aggregate import aggregate_batches, carry_idle_hours
from tests.metering.builders import a_customer, a_meter, an_event, send
from tests.metering.test_races import AT, at_once

pytestmark = pytest.mark.django_db(transaction=True)

_HOUR = timedelta(hours=1)
_END = AT + 8 * _HOUR


@pytest.fixture
def customer() -> Iterator[Customer]:
    """Set up one meter of levels; afterwards the books hold."""
    made = a_customer(AT)
    a_meter(AT, "time_weighted_sum")
    yield made
    assert [one for result in run_checks() for one in result.findings] == []


def _seats(identifier: str, moment: datetime, seats: int) -> None:
    event = an_event(
        identifier, timestamp=moment, properties={"model": "haiku", "tokens": str(seats)}
    )
    send(_END, event)


def _aggregate() -> int:
    return aggregate_batches(at=_END, limit=1)


def _carry() -> int:
    return carry_idle_hours(at=_END)


def test_aggregators_and_the_carrier_share_a_level(customer: Customer) -> None:
    for hour in range(8):
        _seats(f"e{hour}", AT + hour * _HOUR, hour + 1)
    for _ in range(3):
        _aggregate()

    at_once(*[_aggregate] * 5, _carry, _carry)
    _carry()

    quantities = UsageWindow.objects.order_by("start_at").values_list("quantity", flat=True)
    assert list(quantities) == [Decimal(hour + 1) for hour in range(8)]


def test_a_level_is_carried_once_by_many(customer: Customer) -> None:
    _seats("e0", AT, 3)
    _aggregate()

    written = at_once(*[_carry] * 4)

    assert sum(written) == 7
    assert UsageLevel.objects.get().settled_until == _END
    assert set(UsageWindow.objects.values_list("revision", flat=True)) == {1}


def test_a_cancellation_meets_an_aggregator_and_the_carrier(customer: Customer) -> None:
    _seats("e0", AT, 3)
    _seats("e1", AT + 2 * _HOUR, 7)
    _aggregate()
    _aggregate()
    _seats("e2", AT + _HOUR, 5)

    def cancel() -> int:
        cancel_event(customer=customer, identifier="e1", reason="x", by=worker_user(), at=_END)
        return 0

    at_once(cancel, _aggregate, _carry)
    _carry()

    quantities = UsageWindow.objects.order_by("start_at").values_list("quantity", flat=True)
    assert list(quantities) == [3, 5, 5, 5, 5, 5, 5, 5]
