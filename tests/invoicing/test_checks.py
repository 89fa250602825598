"""The books of money hold after a whole story; each check finds its own fault."""

from decimal import Decimal

import pytest
from django.db import connection

from invoicing import checks
from invoicing.models import Invoice
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.packs import sell_credit_pack
from invoicing.services.payments import record_payment
from invoicing.services.subscriptions import renew_due
from metering.models import Customer
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    fee_invoice,
    overage_invoices,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db

CHECKS = [
    checks.numbers_gapless,
    checks.totals_are_lines,
    checks.settlements_add_up,
    checks.balances_add_up,
    checks.lines_are_usage,
    checks.overage_is_invoiced_or_unbilled,
    checks.packs_are_granted,
]


def _month(shop: Shop) -> Invoice:
    """Live through a month: fee, pack, overage, payment, note, late usage."""
    subscription = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    pack = sell_credit_pack(
        customer=subscription.customer, pricing_unit=shop.unit, amount=Decimal(10),
        price_minor=900, key="pack", by=shop.maker, at=START,
    )  # fmt: skip
    record_payment(
        invoice=pack, amount_minor=900, method="cash", reference="1", paid_at=START,
        by=shop.maker, at=START,
    )  # fmt: skip
    use(shop, 150, START + DAY, "req-1")
    renew_due(by=shop.worker, at=END)
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    fee = fee_invoice(subscription)
    issue_credit_note(
        invoice=fee, lines=[(fee.lines.get(), 900)], reason="goodwill", memo="", key="n",
        by=shop.maker, at=END + DAY,
    )  # fmt: skip
    use(shop, 7, START + DAY, "req-2", known_at=END + 2 * DAY)
    [invoice] = overage_invoices(subscription)
    return invoice


def _forge(table: str, statement: str, params: dict[str, int]) -> None:
    """Break a row past its guards, as no service can."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(statement, params)
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def test_after_a_month_every_check_holds(shop: Shop) -> None:
    _month(shop)

    assert [finding for check in CHECKS for finding in check()] == []


@pytest.mark.parametrize(
    ("check", "table", "statement"),
    [
        (
            checks.numbers_gapless, "number_series",
            "UPDATE number_series SET last_number = last_number + 1 WHERE code = 'INV'",
        ),
        (
            checks.numbers_gapless, "invoice",
            "UPDATE invoice SET number = 'INV-0000007' WHERE id = %(id)s",
        ),
        (
            checks.numbers_gapless, "credit_note",
            "UPDATE credit_note SET number = 'CN-' || sequence",
        ),
        (
            checks.totals_are_lines, "invoice_line",
            "UPDATE invoice_line SET amount_minor = amount_minor + 1 WHERE invoice_id = %(id)s"
            " AND position = 1",
        ),
        (
            checks.settlements_add_up, "invoice",
            "UPDATE invoice SET open_minor = open_minor - 1 WHERE id = %(id)s",
        ),
        (
            checks.settlements_add_up, "invoice_line",
            "UPDATE invoice_line SET credited_minor = 1 WHERE invoice_id = %(id)s"
            " AND position = 1",
        ),
        (
            checks.settlements_add_up, "credit_note_line",
            "UPDATE credit_note_line SET amount_minor = amount_minor - 1",
        ),
        (
            checks.lines_are_usage, "line_usage",
            "DELETE FROM line_usage WHERE kind = 'credits_used'",
        ),
        (
            checks.overage_is_invoiced_or_unbilled, "line_usage",
            "DELETE FROM line_usage WHERE kind = 'overage'",
        ),
        (
            checks.overage_is_invoiced_or_unbilled, "invoice_line",
            "UPDATE invoice_line SET amount_minor = amount_minor + 1 WHERE invoice_id = %(id)s"
            " AND position = 1",
        ),
        (
            checks.packs_are_granted, "credit_grant",
            "UPDATE credit_grant SET source_key = 'other' WHERE category = 'paid'",
        ),
        (
            checks.packs_are_granted, "credit_grant",
            "UPDATE credit_grant SET price_minor = 1 WHERE category = 'paid'",
        ),
    ],
)  # fmt: skip
def test_each_check_finds_its_fault(shop: Shop, check: object, table: str, statement: str) -> None:
    invoice = _month(shop)

    _forge(table, statement, {"id": invoice.pk})

    assert [finding.message for finding in check()]  # type: ignore[operator]


def test_usage_whose_period_nobody_opened_is_found(shop: Shop) -> None:
    subscribed(shop)
    use(shop, 1000, END + DAY)  # The worker that opens the next period did not run.

    assert [finding.subject for finding in checks.usage_has_its_period()] == [
        f"customer:{Customer.objects.get().pk}"
    ]

    renew_due(by=shop.worker, at=END + DAY)
    assert list(checks.usage_has_its_period()) == []
