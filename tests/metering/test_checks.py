"""Checks of the books: they hold in life, and find what somebody with the keys has done."""

from datetime import datetime

import pytest
from django.db import connection

from billing_project.kernel.books import run_checks
from billing_project.kernel.models import User
from metering.services.adjust import amend_event
from metering.services.aggregate import aggregate_batches
from metering.services.customers import add_alias
from metering.services.quarantine import replay_quarantine
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _life(at: datetime, engineer: User) -> None:
    customer = a_customer(at)
    for aggregation in ("sum", "count", "max", "last", "unique"):
        a_meter(at, aggregation)
    send(at, an_event(), an_event("e2"), an_event("e3", customer="alias"))
    aggregate_batches(at=at)
    amend_event(
        customer=customer, identifier="e1", properties={"tokens": 1}, reason="x", by=engineer, at=at
    )
    add_alias(external_id="alias", customer=customer, reason="x", by=engineer, at=at)
    replay_quarantine(by=engineer, at=at)


def _findings() -> dict[str, int]:
    results = [result for result in run_checks() if result.name.startswith("metering.")]
    assert len(results) > 6
    return {result.name: len(result.findings) for result in results if result.findings}


def test_the_books_hold_and_a_waiting_batch_is_no_finding() -> None:
    assert _findings() == {}


@pytest.mark.parametrize(
    ("table", "statement", "check", "count"),
    [
        ("usage_window", "UPDATE usage_window SET quantity = 7", "windows_of_events", 10),
        ("usage_window", "DELETE FROM usage_window", "windows_of_events", 10),
        ("event_batch", "UPDATE event_batch SET event_count = 9", "events_of_batches", 2),
        ("event_batch", "DELETE FROM event_batch", "events_of_batches", 2),
        ("event_identity", "UPDATE event_identity SET event_id = 0", "events_of_identities", 6),
        ("event_identity", "DELETE FROM event_identity", "replayed_events", 1),
        (
            "meter_event_adjustment",
            "UPDATE meter_event_adjustment SET event_id = 0",
            "adjustments_of_events",
            1,
        ),
        ("customer", "ALTER TABLE meter_event_2026_11 DISABLE TRIGGER keep_rows",
         "guarded_partitions", 1),
    ],
)  # fmt: skip
def test_what_was_forged_is_found(table: str, statement: str, check: str, count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(statement)

    assert _findings()[f"metering.{check}"] == count
