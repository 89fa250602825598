"""Reports that say the same within a second: shown with what they add, never merged."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection

from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from metering.models import Customer, MeterEvent
from metering.selectors import near_duplicates as selector
from metering.selectors.near_duplicates import Cluster, near_duplicates
from metering.services.adjust import cancel_event
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db
MILLISECOND = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def acme(at: datetime, db: None) -> Customer:
    a_meter(at)
    return a_customer(at)


def _found(customer: Customer | None, at: datetime) -> list[Cluster]:
    return near_duplicates(customer, at - HOUR, at + HOUR)


def _send(at: datetime, *milliseconds: int, prefix: str = "r", **changes: object) -> None:
    """Report the same at these instants, each under its own identifier."""
    for after in milliseconds:
        values = {"timestamp": at + after * MILLISECOND, **changes}
        send(at, an_event(f"{prefix}{after}", **values))


def test_retries_under_new_identifiers_are_one_cluster(acme: Customer, at: datetime) -> None:
    _send(at, 0, 400, 1400, 2401, 9000)

    (cluster,) = _found(acme, at)

    # 400 ms, then exactly 1,000 ms; the next one comes 1,001 ms later and is another use.
    assert cluster.identifiers == ("r0", "r400", "r1400")
    assert (cluster.count, cluster.extra) == (3, 2)
    assert (cluster.first_at, cluster.last_at) == (at, at + 1400 * MILLISECOND)
    (added,) = cluster.added
    assert (added.meter, added.quantity) == ("tokens_sum", Decimal(200))
    assert MeterEvent.objects.count() == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"properties": {"model": "haiku", "tokens": "101"}},
        {"event_name": "image"},
        {"workspace": "prod"},
        {"customer": "beta"},
    ],
)
def test_what_differs_is_no_duplicate(at: datetime, changes: dict[str, object]) -> None:
    a_customer(at, "beta")
    a_meter(at, "count", code="images", event_name="image")
    _send(at, 0)
    _send(at, 100, prefix="other", **changes)

    assert _found(None, at) == []


def test_a_largest_or_last_value_grows_by_no_repeat(acme: Customer, at: datetime) -> None:
    for aggregation in ("max", "last", "unique", "count"):
        a_meter(at, aggregation)
    _send(at, 0, 100)

    (cluster,) = _found(acme, at)

    added = {one.meter: one.quantity for one in cluster.added}
    assert added == {"tokens_sum": 100, "tokens_count": 1}


def test_a_cancelled_report_is_counted_no_longer(
    acme: Customer, engineer: User, at: datetime
) -> None:
    _send(at, 0, 100)
    cancel_event(customer=acme, identifier="r100", reason="sent twice", by=engineer, at=at)

    assert _found(acme, at) == []


def test_all_customers_are_asked_for_a_day_at_most(acme: Customer, at: datetime) -> None:
    a_customer(at, "beta")
    _send(at, 0, 10)
    _send(at, 0, 10, 20, customer="beta")

    assert [(c.customer, c.count) for c in _found(None, at)] == [("beta", 3), ("acme", 2)]
    for customer, days in ((None, 2), (acme, 32), (acme, 0), (acme, -1)):
        with pytest.raises(Invalid):
            near_duplicates(customer, at, at + timedelta(days=days))


def test_too_much_is_refused_in_time(
    acme: Customer, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = selector._FIND.replace("FROM numbered", "FROM numbered, pg_sleep(2)")
    monkeypatch.setattr(selector, "_FIND", slow)
    monkeypatch.setattr(selector, "_SECONDS", 1)
    _send(at, 0, 10)

    with pytest.raises(Invalid, match="shorter"):
        _found(acme, at)

    assert _timeout() == "0"


def test_the_timeout_ends_with_the_question(acme: Customer, at: datetime) -> None:
    _found(acme, at)

    assert _timeout() == "0"


def _timeout() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        (value,) = cursor.fetchone()
    return str(value)
