"""Claims that end unpaid, in the books: voids take back, write-offs expense, recoveries undo."""

import pytest

from invoicing.models import Invoice
from invoicing.services.endings import void_and_regenerate, void_invoice, write_off_invoice
from invoicing.services.invoices import finalize_invoice
from metering.models import Customer
from tests.revrec.builders import Shop, balances, entries, on, recognise, signed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]


def _write_off(shop: Shop, invoice: Invoice, at: str) -> None:
    write_off_invoice(invoice=invoice, reason="insolvent", by=shop.approver, at=on(at))


def _fee(shop: Shop) -> tuple[Customer, Invoice]:
    """Sell 90.00 for 90 days from 1 January."""
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    return customer, Invoice.objects.get(customer=customer)


def test_a_void_takes_back_what_was_earned_and_what_was_promised(shop: Shop) -> None:
    customer, invoice = _fee(shop)

    void_invoice(invoice=invoice, reason="twice", by=shop.maker, at=on("2026-01-31"))
    recognise(customer, "2026-03-01")

    [entry] = entries(customer, "invoice_voided")
    assert signed(entry) == {"1100": -9_000, "4900": 3_000, "2120": 6_000}  # 30 days were earned.
    assert balances(customer) == {"4000": -3_000, "4900": 3_000}


def test_a_void_of_overage_leaves_it_earned_and_unbilled_until_it_is_claimed_again(
    shop: Shop,
) -> None:
    customer = shop.subscriber("2026-01-01", included=0, overage="0.01", days=30)
    shop.use(customer, "1000", "2026-01-05")
    shop.renew("2026-02-02")
    old = Invoice.objects.filter(customer=customer, lines__kind="overage").get()
    recognise(customer, "2026-02-02")

    draft = void_and_regenerate(invoice=old, reason="address", by=shop.maker, at=on("2026-02-03"))
    recognise(customer, "2026-02-03")
    between = balances(customer)
    finalize_invoice(invoice=draft, by=shop.maker, at=on("2026-02-04"))
    recognise(customer, "2026-02-04")

    assert (between["1200"], between["4020"]) == (1_000, -1_000)
    assert balances(customer)["1100"] == 1_000
    assert "1200" not in balances(customer)


def test_a_write_off_expenses_what_was_delivered_and_ends_the_rest(shop: Shop) -> None:
    customer, invoice = _fee(shop)

    _write_off(shop, invoice, "2026-01-31")
    recognise(customer, "2026-05-01")

    [entry] = entries(customer, "written_off")
    assert signed(entry) == {"1100": -9_000, "6200": 3_000, "2120": 6_000}
    assert balances(customer) == {"4000": -3_000, "6200": 3_000}  # No contra revenue, and no more.


def test_a_recovery_undoes_the_expense_and_then_restores_the_promise(shop: Shop) -> None:
    customer, invoice = _fee(shop)
    _write_off(shop, invoice, "2026-01-31")
    recognise(customer, "2026-01-31")

    shop.pay(invoice, "2026-02-10", 2_000)
    recognise(customer, "2026-02-10")
    shop.pay(invoice, "2026-03-02", 4_000)  # 30 days are left: 30.00 become service to come.
    recognise(customer, "2026-03-02")
    shop.pay(invoice, "2026-05-01", 3_000)  # The service is over: earned when paid.
    recognise(customer, "2026-05-01")

    assert [signed(entry) for entry in entries(customer, "recovered")] == [
        {"1000": 2_000, "6200": -2_000},
        {"1000": 4_000, "6200": -1_000, "2120": -3_000},
        {"1000": 3_000, "4000": -3_000},
    ]
    assert balances(customer) == {"1000": 9_000, "4000": -9_000}


def test_a_write_off_and_its_recovery_may_reach_the_books_at_once(shop: Shop) -> None:
    customer = shop.customer()
    pack = shop.pack(customer, "100", 900, "2026-01-01")
    _write_off(shop, pack, "2026-01-02")

    shop.pay(pack, "2026-01-02", 900)
    recognise(customer, "2026-01-03")

    assert balances(customer) == {"1000": 900, "2100": -900}
