"""Finalizing: numbers without gaps, frozen facts, due dates."""

from datetime import date, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import outbox
from billing_project.kernel.errors import NotAllowed, NotFound
from billing_project.kernel.models import User
from invoicing.models import Invoice, InvoiceStatus, NumberSeries
from invoicing.selectors import find_invoice, find_line, invoices
from invoicing.services.invoices import finalize_due, finalize_invoice
from tests.invoicing.builders import (
    DAY,
    START,
    Shop,
    at_once,
    fee_invoice,
    open_shop,
    subscribed,
)

pytestmark = pytest.mark.django_db


def _issued(shop: Shop, name: str = "acme") -> Invoice:
    return finalize_invoice(invoice=fee_invoice(subscribed(shop, name)), by=shop.maker, at=START)


def test_finalizing_issues_the_whole_claim(shop: Shop) -> None:
    invoice = _issued(shop)

    assert (invoice.number, invoice.sequence) == ("INV-000001", 1)
    assert (invoice.status, invoice.total_minor, invoice.open_minor) == ("finalized", 4900, 4900)
    assert (invoice.finalized_at, invoice.due_on) == (START, date(2026, 11, 20))
    assert invoice.customer_id in outbox.waiting("money_changed")
    assert find_invoice("INV-000001") == invoice


def test_finalizing_again_changes_nothing(shop: Shop) -> None:
    invoice = _issued(shop)

    again = finalize_invoice(invoice=invoice, by=shop.maker, at=START + DAY)

    assert (again.number, again.finalized_at) == ("INV-000001", START)
    assert NumberSeries.objects.get(code="INV").last_number == 1


def test_only_finance_finalizes_by_hand(shop: Shop, support: User) -> None:
    draft = fee_invoice(subscribed(shop))

    with pytest.raises(NotAllowed):
        finalize_invoice(invoice=draft, by=support, at=START)


def test_due_drafts_are_finalized_in_the_order_of_their_grace(shop: Shop) -> None:
    subscribed(shop, "later", START + DAY)
    subscribed(shop, "sooner", START)

    assert finalize_due(by=shop.worker, at=START) == 1
    assert finalize_due(by=shop.worker, at=START + DAY) == 1
    numbers = {invoice.customer.external_id: invoice.number for invoice in invoices()}
    assert numbers == {"sooner": "INV-000001", "later": "INV-000002"}


def test_invoices_are_listed_by_customer_and_status(shop: Shop) -> None:
    issued, draft = _issued(shop), fee_invoice(subscribed(shop, "globex"))

    assert list(invoices()) == [draft, issued]
    assert list(invoices("acme")) == [issued]
    assert list(invoices(status=InvoiceStatus.DRAFT)) == [draft]
    with pytest.raises(NotFound):
        find_invoice("INV-000009")
    with pytest.raises(NotFound):
        find_line(issued, 2)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoice SET total_minor = 1 WHERE id = %(id)s",
        "UPDATE invoice SET open_minor = 0, status = 'paid' WHERE id = %(id)s",
        "UPDATE invoice SET number = 'INV-000009' WHERE id = %(id)s",
        "DELETE FROM invoice WHERE id = %(id)s",
        "TRUNCATE invoice CASCADE",
        "UPDATE invoice_line SET amount_minor = 1 WHERE invoice_id = %(id)s",
        "UPDATE invoice_line SET credited_minor = 1 WHERE invoice_id = %(id)s",
        "DELETE FROM invoice_line WHERE invoice_id = %(id)s",
        "TRUNCATE invoice_line CASCADE",
        "INSERT INTO invoice_line (invoice_id, position, kind, description, quantity, unit,"
        " unit_price_unrounded, amount_minor, credited_minor, service_start_at, service_end_at,"
        " source_key) SELECT invoice_id, 2, kind, description, quantity, unit,"
        " unit_price_unrounded, 0, 0, service_start_at, service_end_at, 'other'"
        " FROM invoice_line WHERE invoice_id = %(id)s",
    ],
)
def test_postgresql_freezes_an_issued_invoice(shop: Shop, statement: str) -> None:
    invoice = _issued(shop)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {"id": invoice.pk})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoice SET number = 'INV-000001' WHERE id = %(id)s",  # Not finalized.
        "UPDATE invoice SET sequence = 1 WHERE id = %(id)s",
        # Finalized with a number that the series did not give.
        "UPDATE invoice SET status = 'finalized', number = 'INV-000001', sequence = 1,"
        " open_minor = total_minor, finalized_at = created_at WHERE id = %(id)s",
        # Deletion and truncation, also of drafts.
        "DELETE FROM invoice WHERE id = %(id)s",
        "TRUNCATE invoice CASCADE",
    ],
)
def test_postgresql_gives_no_number_to_what_is_not_finalized(shop: Shop, statement: str) -> None:
    draft = fee_invoice(subscribed(shop))

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {"id": draft.pk})


def test_postgresql_refuses_an_invoice_that_was_never_a_draft(shop: Shop) -> None:
    issued = _issued(shop)
    issued.pk, issued.number, issued.sequence, issued.source_key = None, "INV-000002", 2, "other"

    with pytest.raises(DatabaseError, match="starts as a draft"), transaction.atomic():
        issued.save(force_insert=True)


def test_postgresql_refuses_a_total_that_its_lines_do_not_sum_to(shop: Shop) -> None:
    draft = fee_invoice(subscribed(shop))

    with pytest.raises(DatabaseError, match="its lines sum to 4900"):
        _take_number("INV", draft, total_minor=5000)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE number_series SET last_number = last_number + 2 WHERE code = 'INV'",
        "UPDATE number_series SET last_number = last_number - 1 WHERE code = 'INV'",
        "UPDATE number_series SET code = 'X' WHERE code = 'INV'",
        "DELETE FROM number_series",
        "TRUNCATE number_series",
    ],
)
def test_postgresql_lets_a_series_move_by_one_only(shop: Shop, statement: str) -> None:
    _issued(shop)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize("series", ["INV", "CN"])
def test_postgresql_refuses_a_number_that_is_on_no_document(db: None, series: str) -> None:
    with pytest.raises(DatabaseError, match="is on no document"):
        _take_number(series)


@pytest.mark.django_db(transaction=True)
def test_eight_threads_finalize_without_gaps() -> None:
    shop = open_shop()
    drafts = [fee_invoice(subscribed(shop, f"cust-{i}")) for i in range(8)]

    at_once(*[_finalizer(shop, draft, START + timedelta(hours=1)) for draft in drafts])

    sequences = Invoice.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(sequences) == [1, 2, 3, 4, 5, 6, 7, 8]


def _finalizer(shop: Shop, draft: Invoice, at: datetime):  # type: ignore[no-untyped-def]
    return lambda: finalize_invoice(invoice=draft, by=shop.maker, at=at)


@transaction.atomic
def _take_number(series: str, draft: Invoice | None = None, total_minor: int = 0) -> None:
    """Take a number past the services, for a draft if there is one, as a commit would."""
    NumberSeries.objects.filter(code=series).update(last_number=1)
    if draft is not None:
        Invoice.objects.filter(pk=draft.pk).update(
            status="finalized", number="INV-000001", sequence=1, finalized_at=START,
            total_minor=total_minor, open_minor=total_minor,
        )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
