"""Two sessions on one document: what one changes, the other does not issue meanwhile."""

import threading
from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.period import Period
from invoicing.lines import Kind, Line
from invoicing.models import CreditNoteLine, Invoice, InvoiceLine, LineUsage
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.drafts import Draft, create_draft, write_lines
from invoicing.services.invoices import draft_overage_invoices, finalize_due, finalize_invoice
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    customer_of,
    open_shop,
    overage_invoices,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db(transaction=True)

_GHOST = (
    "INSERT INTO invoice_line (invoice_id, position, kind, description, quantity, unit,"
    " unit_price_unrounded, amount_minor, credited_minor, service_start_at, service_end_at,"
    " source_key) SELECT invoice_id, 9, 'credits_used', 'ghost', 1, '', 0, 0, 0,"
    " service_start_at, service_end_at, 'ghost' FROM invoice_line WHERE invoice_id = %s LIMIT 1"
)
_EDIT = "UPDATE invoice_line SET description = 'ghost' WHERE invoice_id = %s"
_UNLINK = (
    "DELETE FROM line_usage WHERE line_id IN (SELECT id FROM invoice_line WHERE invoice_id = %s)"
)


@pytest.fixture
def shop() -> Shop:
    """Return a shop that other sessions see."""
    return open_shop()


@pytest.fixture
def other() -> Iterator[psycopg.Connection]:
    """Return a session beside Django's own."""
    connection.ensure_connection()
    info = connection.connection.info
    with psycopg.connect(info.dsn, password=info.password or None) as session:
        yield session
        session.rollback()


def _overage_draft(shop: Shop) -> Invoice:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    [draft] = overage_invoices(subscription)
    return draft


@pytest.mark.parametrize("statement", [_GHOST, _EDIT, _UNLINK])
def test_an_invoice_is_not_issued_while_another_session_changes_it(
    shop: Shop, other: psycopg.Connection, statement: str
) -> None:
    draft = _overage_draft(shop)
    other.execute(statement, [draft.pk])

    def finalize() -> None:
        finalize_due(by=shop.worker, at=END + DAY)
        connection.close()

    worker = threading.Thread(target=finalize)
    worker.start()
    worker.join(0.4)
    is_held = worker.is_alive()
    other.commit()
    worker.join(10)

    assert is_held
    draft.refresh_from_db()
    assert draft.number is not None


@pytest.mark.parametrize("statement", [_GHOST, _EDIT, _UNLINK])
def test_a_session_that_comes_after_the_issue_is_refused(
    shop: Shop, other: psycopg.Connection, statement: str
) -> None:
    draft = _overage_draft(shop)
    refused: list[Exception] = []

    def change() -> None:
        try:
            other.execute(statement, [draft.pk])
        except psycopg.Error as error:
            refused.append(error)

    with transaction.atomic():
        finalize_invoice(invoice=draft, by=shop.worker, at=END + DAY)
        late = threading.Thread(target=change)
        late.start()
        late.join(0.4)
        assert late.is_alive()  # It waits to see how the issue ends.
    late.join(10)

    [error] = refused
    assert "frozen" in str(error)
    assert not InvoiceLine.objects.filter(description="ghost").exists()
    assert LineUsage.objects.filter(line__invoice=draft).exists()


def test_a_note_takes_no_line_after_it_was_issued(shop: Shop) -> None:
    customer = customer_of(shop)
    draft = create_draft(
        Draft(customer, None, "USD", Period(START, END), START, "test:two-lines"), START
    )
    lines = [
        Line(Kind.RECURRING, name, Decimal(1), "period", Decimal(1), 100, name) for name in "ab"
    ]
    first, second = write_lines(draft, lines)
    finalize_invoice(invoice=draft, by=shop.worker, at=START)
    note = issue_credit_note(
        invoice=draft, lines=[(first, 50)], reason="goodwill", memo="", key="n",
        by=shop.worker, at=START,
    )  # fmt: skip

    with pytest.raises(DatabaseError, match="totals 50 but its lines sum to 100"):
        CreditNoteLine.objects.create(credit_note=note, invoice_line=second, amount_minor=50)
