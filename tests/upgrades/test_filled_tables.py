"""Migrations that read or backfill rows, run on a database that earlier releases had filled.

It stops where tables that a later migration reads can be filled first, and goes on. What reads no
rows is left to the empty database that every other test is made from.
"""

import gc
from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from pytest_django import DjangoDbBlocker

from tests.upgrades.rows import (
    fill_the_first_release,
    fill_the_limits,
    fill_the_settlements,
    value,
    values,
)

pytestmark = pytest.mark.django_db

FIRST_RELEASE = [
    ("kernel", "0002_guards"),
    ("metering", "0003_late_events"),
    ("credits", "0002_guards"),
    ("invoicing", "0003_number_series"),
]
SETTLEMENTS = [("credits", "0009_own_change"), ("invoicing", "0009_settlement_guards")]
LIMITS = [("credits", "0015_period_cut"), ("invoicing", "0010_refund_of_balance")]


@pytest.fixture(scope="module", autouse=True)
def _filled(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Fill a database of its own, release by release, up to what is released now."""
    with django_db_blocker.unblock():
        tests = connection.settings_dict["NAME"]
        own = f"{tests}_filled"
        _use(own, f'CREATE DATABASE "{own}"')
        try:
            _migrate(FIRST_RELEASE)
            fill_the_first_release()
            _migrate(SETTLEMENTS)
            fill_the_settlements()
            _migrate(LIMITS)
            fill_the_limits()
            _migrate(_newest("kernel", "metering", "credits"))
            yield
        finally:
            _use(tests, f'DROP DATABASE "{own}"')


def test_what_was_rated_is_folded_once() -> None:
    assert values("SELECT window_id, revision, quantity FROM window_rating ORDER BY 1") == [
        (1, 2, Decimal(30)),  # 40 - 10
        (2, 1, Decimal(30)),
    ]
    assert value("SELECT quantity, charge FROM rate_total") == (Decimal(60), Decimal(30))


def test_facts_get_the_order_in_which_they_became_known() -> None:
    order = values(
        "SELECT source_key FROM (SELECT position, source_key FROM rated_usage"
        " UNION ALL SELECT position, source_key FROM ledger_transaction) facts ORDER BY position"
    )

    # The second revision of the first window was known last by its id, though written at 11:02.
    assert order == ["g", "w1", "dw1", "w2", "w1b", "dw2"]


def test_later_facts_come_after_those_that_were_there() -> None:
    last = value("SELECT max(position) FROM ledger_transaction")

    assert value("SELECT position FROM claw_back") > last
    assert value("SELECT nextval('credit_fact_position')") > last
    assert value("SELECT obj_description('credit_fact_position'::regclass)") == str(last)


def test_rates_of_the_first_release_are_per_unit_by_workspace() -> None:
    assert value("SELECT model, pools, terms::text FROM rate") == ("per_unit", "workspace", "{}")


def test_proposals_wait_as_submitted_and_decisions_stand() -> None:
    assert values("SELECT status FROM policy_change WHERE kind = 'rate_card' ORDER BY id") == [
        "approved",
        "approved",
        "rejected",
        "submitted",
    ]


def test_an_earlier_approval_is_finances_of_what_was_submitted() -> None:
    signed = values(
        "SELECT a.function, a.by_id, a.sha256 = policy_change_digest(c)"
        " FROM policy_approval a JOIN policy_change c ON c.id = a.change_id"
        " WHERE c.kind = 'rate_card' ORDER BY c.id"
    )

    assert signed == [("finance", 2, True)] * 2


def test_a_meters_rule_becomes_its_first_version() -> None:
    first = "SELECT event_name, value_property, created_by_id, is_active FROM meter_version"

    assert value(f"{first} WHERE number = 1") == ("call", "tokens", 2, True)


def test_what_waits_in_quarantine_is_grouped() -> None:
    assert value("SELECT missing, event_count, role FROM quarantine_group") == (
        "odd", 1, "engineering",
    )  # fmt: skip


def test_an_invoiced_period_is_known_to_metering() -> None:
    told = value("SELECT customer_id, source_key, start_at, end_at::date::text FROM invoiced_usage")

    assert told == (1, "billing_period:1", None, "2026-12-01")


def test_a_notes_balance_is_the_customers() -> None:
    assert value("SELECT customer_id, currency, balance_minor FROM customer_balance") == (
        1, "USD", 200,
    )  # fmt: skip


def test_a_refund_names_the_customer_of_its_note() -> None:
    assert value("SELECT customer_id, credit_note_id FROM refund") == (1, 2)


def test_counters_without_a_span_are_folded_again() -> None:
    assert value("SELECT count(*) FROM spend_counter") == 0
    assert value("SELECT count(*) FROM spend_limit") == 1


def test_no_guard_stays_switched_off() -> None:
    off = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'"

    assert values(off) == []


def _use(name: str, statement: str) -> None:
    """Let the connection go to another database, making or dropping the filled one."""
    connection.close()
    connection.settings_dict["NAME"] = name
    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


def _migrate(targets: list[tuple[str, str]]) -> None:
    """Migrate; ten thousand model classes come and go, and looking for cycles is half the time."""
    gc.disable()
    try:
        MigrationExecutor(connection).migrate(targets)
    finally:
        gc.enable()


def _newest(*apps: str) -> list[tuple[str, str]]:
    return [
        key for key in MigrationExecutor(connection).loader.graph.leaf_nodes() if key[0] in apps
    ]
