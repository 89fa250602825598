"""PostgreSQL itself refuses what must not be, whoever asks."""

from datetime import datetime

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.models import User
from metering.models import Customer
from metering.services.adjust import cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.customers import add_alias
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db

_PARTITION = "meter_event_2026_11"
_KEPT = [
    "meter_event",
    _PARTITION,
    "event_identity",
    "meter_event_adjustment",
    "customer_alias",
    "customer_history",
]
_CHANGES = {
    "meter_event": "identifier = 'x'",
    _PARTITION: "properties = '{}'",
    "event_identity": "event_id = 0",
    "meter_event_adjustment": "reason = 'x'",
    "customer_alias": "reason = 'x'",
    "customer_history": "name = 'x'",
}


@pytest.fixture(autouse=True)
def customer(at: datetime, engineer: User) -> Customer:
    """Return a customer with a row in every table."""
    customer = a_customer(at)
    a_meter(at)
    add_alias(external_id="alias", customer=customer, reason="test", by=engineer, at=at)
    send(at, an_event(), an_event("e2", customer="nobody"))
    aggregate_batches(at=at)
    cancel_event(customer=customer, identifier="e1", reason="test", by=engineer, at=at)
    return customer


def _refused(statement: str, *, as_replica: bool = False) -> str:
    role = "replica" if as_replica else "origin"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"SET LOCAL session_replication_role = {role}")
        with pytest.raises(DatabaseError) as caught, transaction.atomic():
            cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = origin")
    return str(caught.value)


@pytest.mark.parametrize("as_replica", [False, True])
@pytest.mark.parametrize("table", _KEPT)
def test_facts_are_append_only(table: str, as_replica: bool) -> None:
    for statement in (
        f"UPDATE {table} SET {_CHANGES[table]}",
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
    ):
        assert "append-only" in _refused(statement, as_replica=as_replica)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE customer SET currency = 'EUR'",
        "UPDATE customer SET external_id = 'other'",
        "UPDATE meter SET aggregation = 'max'",
        "UPDATE meter SET first_event_id = 0",
        "UPDATE event_batch SET event_count = 7",
        "UPDATE event_batch SET aggregated_at = NULL",
        "UPDATE event_batch SET aggregated_at = now()",
        "UPDATE quarantined_event SET properties = '{}'",
        "UPDATE quarantined_event SET state = 'replayed'",
        "DELETE FROM customer",
        "DELETE FROM meter",
        "DELETE FROM event_batch",
        "TRUNCATE quarantined_event",
    ],
)
def test_only_the_state_of_a_fact_may_change(statement: str) -> None:
    _refused(statement)


@pytest.mark.parametrize("quantity", ["-1", "'NaN'", "'Infinity'", "1e38"])
def test_a_window_holds_a_quantity(quantity: str) -> None:
    _refused(f"UPDATE usage_window SET quantity = {quantity}")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO event_identity SELECT * FROM event_identity",
        "INSERT INTO usage_window (customer_id, meter_id, workspace_id, dimensions, dimensions_key,"
        " start_at, quantity, event_count, revision, updated_at) SELECT customer_id, meter_id,"
        " workspace_id, dimensions, dimensions_key, start_at, 1, 1, 1, updated_at"
        " FROM usage_window",
        "INSERT INTO meter_event_adjustment (customer_id, identifier, event_id, timestamp, type,"
        " reason, created_by_id, created_at) SELECT customer_id, identifier, event_id, timestamp,"
        " type, reason, created_by_id, created_at FROM meter_event_adjustment",
        "INSERT INTO meter_event_adjustment (customer_id, identifier, event_id, timestamp, type,"
        " reason, created_by_id, created_at) SELECT customer_id, identifier, 0, timestamp,"
        " 'amend', reason, created_by_id, created_at FROM meter_event_adjustment",
        "INSERT INTO meter_version (meter_id, number, event_name, value_property, filters,"
        " dimensions, rounding_mode, rounding_decimals, effective_at, reason, created_by_id,"
        " created_at, withdrawal_reason) SELECT meter_id, 2, event_name, '', filters, dimensions,"
        " 'up', 0, '2100-01-01Z', 'no value', created_by_id, created_at, '' FROM meter_version",
    ],
)
def test_a_second_or_senseless_fact_is_refused(statement: str) -> None:
    _refused(statement)
