"""The checks see what a superuser did behind the ledger's back."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from billing_project.kernel import outbox
from invoicing.models import Invoice
from metering.models import Customer
from revrec import checks
from tests.revrec.builders import Shop, close_month, recognise

pytestmark = pytest.mark.django_db
ALL = [
    checks.debits_equal_credits,
    checks.entries_balance,
    checks.chain_is_intact,
    checks.models_were_used,
    checks.liabilities_tie,
    checks.revenue_ties,
    checks.unbilled_ties,
    checks.overage_earns_its_use,
    checks.receivables_tie,
    checks.customer_balances_tie,
    checks.grants_earn_their_cost,
    checks.schedules_end_on_the_price,
    checks.rollforwards_tie,
    checks.closes_stand,
    checks.facts_are_accounted,
]


@pytest.fixture
def customer(shop: Shop) -> Customer:
    """Return a customer to whom everything happened, with January closed."""
    customer = shop.subscriber("2026-01-01", fee=3_100, overage="0.01")
    shop.grant(customer, "100", "2026-01-01", price=1_000)
    invoice = Invoice.objects.get(customer=customer)
    shop.use(customer, "40", "2026-01-05T10")
    shop.use(customer, "300", "2026-01-06T10")
    shop.pay(invoice, "2026-01-07")
    shop.credit(invoice, 310, "goodwill", "2026-01-10")
    shop.renew("2026-02-02")
    close_month("2026-01-01", "2026-02-02")
    recognise(customer, "2026-02-03")
    return customer


@pytest.fixture
def tamper() -> Callable[[str], None]:
    """Return a way to run a statement with the guards switched off."""
    tables = ("posting", "journal_entry", "entry_source", "accounting_period")

    def run(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table in tables:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            cursor.execute(statement)
            for table in tables:
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")

    return run


def _failing() -> set[str]:
    return {check.__name__ for check in ALL if list(check())}


def test_sound_books_have_no_findings(customer: Customer) -> None:
    assert _failing() == set()


# What a superuser could do, and which checks see it.
FAULTS: list[tuple[str, set[str]]] = [
    ("UPDATE posting SET amount_minor = amount_minor + 1 WHERE account_id = '4000'",
     {"debits_equal_credits", "entries_balance", "chain_is_intact", "revenue_ties",
      "closes_stand"}),
    ("UPDATE posting SET account_id = '4020' WHERE account_id = '4010'",
     {"chain_is_intact", "grants_earn_their_cost", "closes_stand"}),
    ("UPDATE posting SET amount_minor = amount_minor * 2 WHERE entry_id IN"
     " (SELECT id FROM journal_entry WHERE kind = 'overage_used')",
     {"chain_is_intact", "revenue_ties", "unbilled_ties", "overage_earns_its_use",
      "closes_stand"}),
    ("UPDATE posting SET account_id = '1000' WHERE account_id = '2200'"
     " AND amount_minor < 0",
     {"chain_is_intact", "customer_balances_tie", "closes_stand"}),
    ("UPDATE posting SET amount_minor = -amount_minor WHERE entry_id IN"
     " (SELECT id FROM journal_entry WHERE kind = 'payment_recorded')",
     {"chain_is_intact", "receivables_tie", "closes_stand"}),
    ("UPDATE posting SET obligation_id = NULL WHERE account_id = '2120'",
     {"chain_is_intact", "liabilities_tie"}),
    ("UPDATE posting SET model = 'ghost' WHERE account_id = '4020'",
     {"chain_is_intact", "models_were_used"}),
    ("UPDATE journal_entry SET description = 'Other' WHERE chain_position = 2",
     {"chain_is_intact"}),
    ("UPDATE journal_entry SET kind = 'other' WHERE kind = 'fees_earned'",
     {"chain_is_intact", "rollforwards_tie"}),
    ("UPDATE journal_entry SET chain_position = -chain_position WHERE chain_position = 3",
     {"chain_is_intact"}),
    ("UPDATE performance_obligation SET recognised_minor = recognised_minor - 1"
     " WHERE kind = 'fee'",
     {"liabilities_tie", "revenue_ties", "schedules_end_on_the_price"}),
    ("UPDATE accounting_period SET trial_balance = '[]' WHERE status = 'closed'",
     {"closes_stand"}),
    ("DELETE FROM entry_source WHERE source_type = 'payment'", {"facts_are_accounted"}),
    ("DELETE FROM entry_source WHERE source_type = 'rated_usage'",
     {"facts_are_accounted", "unbilled_ties", "overage_earns_its_use"}),
]  # fmt: skip


def test_each_fault_is_seen_by_its_checks(
    customer: Customer, tamper: Callable[[str], None]
) -> None:
    for statement, expected in FAULTS:
        with transaction.atomic():
            tamper(statement)
            assert _failing() == expected, statement
            transaction.set_rollback(True)


def test_facts_that_wait_in_the_outbox_are_no_findings(
    shop: Shop, customer: Customer, settings: Any
) -> None:
    settings.BILLING_CLOCK = "2026-02-03T10:05:00+00:00"  # The oldest note is four minutes old.
    shop.use(customer, "50", "2026-02-03T10")
    shop.renew("2026-03-02")

    assert _failing() == set()
    outbox.take("credits_changed", customer.pk)
    outbox.take("money_changed", customer.pk)
    assert _failing() == {"facts_are_accounted", "receivables_tie"}
