"""Claims that end unpaid, in the books: voids take back, write-offs expense, recoveries undo."""

import pytest

from invoicing.crediting import Settlement
from invoicing.models import CreditNote, Invoice
from invoicing.services.endings import void_and_regenerate, void_invoice, write_off_invoice
from invoicing.services.invoices import finalize_invoice
from invoicing.services.note_voids import void_credit_note
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


def test_a_note_on_what_was_written_off_claims_it_again_and_takes_it_back(shop: Shop) -> None:
    customer, invoice = _fee(shop)
    shop.pay(invoice, "2026-01-02", 3_000)
    _write_off(shop, invoice, "2026-01-31")
    recognise(customer, "2026-01-31")
    assert balances(customer) == {"1000": 3_000, "2120": -2_000, "4000": -3_000, "6200": 2_000}

    shop.credit(invoice, 7_500, "billing_error", "2026-01-31")  # 60.00 of it were given up.
    recognise(customer, "2026-01-31")

    [again] = entries(customer, "recovered")
    assert signed(again) == {"1100": 6_000, "6200": -2_000, "2120": -4_000}
    [note] = entries(customer, "credit_note_issued")
    assert signed(note) == {"1100": -6_000, "2200": -1_500, "4900": 2_500, "2120": 5_000}
    recognise(customer, "2026-05-01")  # Of the 15.00 that are left, 5.00 had been earned.
    assert balances(customer) == {"1000": 3_000, "2200": -1_500, "4000": -4_000, "4900": 2_500}


def test_a_note_that_was_void_before_the_write_off_took_nothing_off_it(shop: Shop) -> None:
    customer, invoice = _fee(shop)
    note = shop.credit(invoice, 9_000, "goodwill", "2026-01-12")
    void_credit_note(credit_note=note, reason="wrong one", by=shop.maker, at=on("2026-01-13"))
    _write_off(shop, invoice, "2026-01-31")

    recognise(customer, "2026-02-01")

    assert entries(customer, "recovered") == []
    assert balances(customer) == {"4000": -3_000, "6200": 3_000}  # 30 days were earned.


def test_overage_that_was_false_goes_back_although_it_was_given_up_in_part(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=0, included=0, overage="0.01", days=30)
    shop.use(customer, "10000", "2026-01-05")
    shop.renew("2026-02-02")
    invoice = Invoice.objects.filter(customer=customer, lines__kind="overage").get()
    shop.pay(invoice, "2026-02-03", 6_000)
    _write_off(shop, invoice, "2026-02-04")

    note = shop.credit(invoice, 5_000, "goodwill", "2026-02-04")  # At once with the write-off.
    recognise(customer, "2026-02-04")

    assert (note.open_minor, note.balance_minor) == (4_000, 1_000)
    assert balances(customer) == {"1000": 6_000, "2200": -1_000, "4020": -10_000, "4900": 5_000}


def _void_note(shop: Shop, note: CreditNote, at: str) -> None:
    void_credit_note(credit_note=note, reason="mistaken", by=shop.maker, at=on(at))


def test_a_void_note_puts_the_promise_back_and_catches_up_in_the_open_month(shop: Shop) -> None:
    customer, invoice = _fee(shop)
    note = shop.credit(invoice, 4_500, "billing_error", "2026-01-31")
    recognise(customer, "2026-02-20")
    _void_note(shop, note, "2026-03-02")
    recognise(customer, "2026-03-02")

    [noted], [voided] = (entries(customer, f"credit_note_{end}") for end in ("issued", "voided"))
    assert signed(noted) == {"1100": -4_500, "4900": 1_500, "2120": 3_000}
    # 30 more days at 0.50 a day are caught up as revenue, and the contra is turned around (STR-29).
    assert signed(voided) == {"1100": 4_500, "4900": -1_500, "4000": -1_500, "2120": -1_500}
    recognise(customer, "2026-05-01")
    assert balances(customer) == {"1100": 9_000, "4000": -9_000}


@pytest.mark.parametrize("reason", ["cancel_future", "goodwill"])
def test_a_note_voided_after_the_service_leaves_all_of_it_earned(shop: Shop, reason: str) -> None:
    customer, invoice = _fee(shop)
    note = shop.credit(invoice, 9_000, reason, "2026-01-31")
    _void_note(shop, note, "2026-06-01")
    recognise(customer, "2026-06-02")

    assert balances(customer) == {"1100": 9_000, "4000": -9_000}


def test_a_void_note_on_overage_takes_its_concession_back(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=0, included=0, overage="0.01", days=30)
    shop.use(customer, "1000", "2026-01-05")
    shop.renew("2026-02-02")
    invoice = Invoice.objects.filter(customer=customer, lines__kind="overage").get()
    note = shop.credit(invoice, 400, "goodwill", "2026-02-03")
    recognise(customer, "2026-02-03")
    between = balances(customer)
    _void_note(shop, note, "2026-02-04")
    recognise(customer, "2026-02-04")

    assert (between["1100"], between["4900"]) == (600, 400)
    assert balances(customer) == {"1100": 1_000, "4020": -1_000}
    assert signed(entries(customer, "credit_note_voided")[0]) == {"1100": 400, "4900": -400}


def test_a_void_note_takes_back_what_it_owed_to_the_customer(shop: Shop) -> None:
    customer, invoice = _fee(shop)
    shop.pay(invoice, "2026-01-02", 9_000)
    note = shop.credit(
        invoice, 9_000, "duplicate", "2026-01-11",
        Settlement(refund_minor=5_000, balance_minor=4_000),
    )  # fmt: skip
    recognise(customer, "2026-01-12")
    assert balances(customer)["2200"] == -9_000
    _void_note(shop, note, "2026-01-21")
    recognise(customer, "2026-01-21")

    assert balances(customer) == {"1000": 9_000, "2120": -7_000, "4000": -2_000}
