"""Migrations that read or backfill rows, run on a database that earlier releases had filled.

It stops where tables that a later migration reads can be filled first, and goes on. What reads no
rows is left to the empty database that every other test is made from.
"""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from pytest_django import DjangoDbBlocker

from tests.catalog import catalog
from tests.light_migrations import light_migrations
from tests.upgrades.rows import (
    close_october,
    fill_the_books,
    fill_the_first_release,
    fill_the_items,
    fill_the_limits,
    fill_the_settlements,
    use,
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
BOOKS = [("revrec", "0003_chart_of_accounts")]
LIMITS = [("credits", "0015_period_cut"), ("invoicing", "0013_outcome")]


_made_from_nothing: set[tuple[str, str, str]] = set()


@pytest.fixture(scope="module", autouse=True)
def _filled(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Fill a database of its own, release by release, up to what is released now."""
    with django_db_blocker.unblock(), light_migrations():
        tests = connection.settings_dict["NAME"]
        own = f"{tests}_filled"
        _made_from_nothing.update(catalog())
        use(own, f'CREATE DATABASE "{own}"')
        try:
            _migrate(FIRST_RELEASE)
            fill_the_first_release()
            _migrate(SETTLEMENTS)
            fill_the_settlements()
            _migrate(BOOKS)
            fill_the_books()
            close_october()
            _migrate(LIMITS)
            fill_the_limits()
            fill_the_items()
            _migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())
            yield
        finally:
            use(tests, f'DROP DATABASE "{own}"')


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
        "approved",
    ]


def test_an_earlier_approval_is_finances_of_what_was_submitted() -> None:
    signed = values(
        "SELECT a.function, a.by_id, a.sha256 = policy_change_digest(c)"
        " FROM policy_approval a JOIN policy_change c ON c.id = a.change_id"
        " WHERE c.kind = 'rate_card' ORDER BY c.id"
    )

    assert signed == [("finance", 2, True)] * 3


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


def test_what_was_raised_before_alerts_were_mailed_is_not_mailed_now() -> None:
    assert value("SELECT told_at = raised_at FROM alert") is True


def test_what_was_issued_keeps_who_bought_and_who_sold() -> None:
    kept = values(
        "SELECT status, customer_name, seller_name > '', entity_id, written_off_minor, tax_minor,"
        " open_minor FROM invoice ORDER BY id"
    )

    assert kept == [("paid", "Acme", True, 1, 0, 0, 0), ("draft", "", False, 1, 0, 0, 0)]


def test_numbers_go_on_in_the_series_of_the_one_entity_that_there_was() -> None:
    series = values("SELECT entity_id, code, last_number FROM number_series ORDER BY code")

    assert series == [(1, "CN", 2), (1, "INV", 1)]
    assert values("SELECT entity_id, sequence, number FROM credit_note ORDER BY id") == [
        (1, 1, "CN-1"), (1, 2, "CN-2"),
    ]  # fmt: skip


def test_plans_and_outcomes_of_before_say_what_they_said() -> None:
    plans = values("SELECT anchor, threshold_minor, customer_id FROM plan_version ORDER BY id")

    assert plans == [("start", None, None)] * 2
    assert value("SELECT state, is_void FROM outcome o JOIN line_outcome l ON true") == (
        "accepted", False,
    )  # fmt: skip


def test_a_month_that_one_person_closed_stays_closed() -> None:
    months = values("SELECT status, soft_closed_by_id, checklist::text FROM accounting_period")

    assert sorted(months) == [("closed", None, "[]"), ("open", None, "[]")]


def test_an_account_that_was_there_keeps_its_name_and_the_chart_is_whole() -> None:
    assert value("SELECT name FROM ledger_account WHERE code = '4050'") == "Our outcomes"
    assert value("SELECT count(*) FROM ledger_account WHERE code IN ('1000', '2300', '7900')") == 3


def test_what_was_posted_stays_and_balances() -> None:
    assert value("SELECT count(*), sum(amount_minor) FROM posting") == (4, 0)
    assert values("SELECT entry_sha256 FROM journal_entry ORDER BY chain_position") == ["1", "2"]


def test_an_upgraded_database_is_made_as_a_new_one() -> None:
    upgraded = catalog()

    assert sorted(upgraded - _made_from_nothing) == []
    assert sorted(_made_from_nothing - upgraded) == []


def test_no_guard_stays_switched_off() -> None:
    off = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'"

    assert values(off) == []


def _migrate(targets: list[tuple[str, str]]) -> None:
    MigrationExecutor(connection).migrate(targets)
