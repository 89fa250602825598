"""Tax in the books: claimed with the line, payable until notes take it back, never revenue."""

import pytest

from invoicing.models import Invoice
from invoicing.services.endings import void_invoice, write_off_invoice
from metering.models import Customer
from tests.invoicing import builders as shops
from tests.revrec.builders import balances, on, recognise

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]
AT = "2026-10-21"


@pytest.fixture
def shop(db: None) -> shops.Shop:
    """Return a shop that is registered in Germany."""
    shop = shops.open_shop()
    shops.registered_in(shop, "DE", "0.19", "USD")
    return shop


def _issued(shop: shops.Shop) -> tuple[Customer, Invoice]:
    """Issue 100.00 + 19.00 for the 30 days from 21 October."""
    customer = shops.customer_of(shop, country="DE")
    return customer, shops.issued(shop, customer, 10_000)


def test_tax_is_claimed_and_payable_and_the_fee_earns_net(shop: shops.Shop) -> None:
    customer, invoice = _issued(shop)

    recognise(customer, "2026-11-20")
    assert balances(customer) == {"1100": 11_900, "2300": -1_900, "4000": -10_000}
    shops.paid(shop, invoice)
    recognise(customer, "2026-11-20")

    assert balances(customer) == {"1000": 11_900, "2300": -1_900, "4000": -10_000}


def test_a_note_takes_its_tax_back(shop: shops.Shop) -> None:
    customer, invoice = _issued(shop)
    shops.note_on(shop, invoice, 5_000)

    recognise(customer, AT)

    assert balances(customer) == {"1100": 5_950, "2120": -5_000, "2300": -950}


def test_a_void_takes_all_of_it_back_and_a_write_off_none(shop: shops.Shop) -> None:
    customer, invoice = _issued(shop)
    void_invoice(invoice=invoice, reason="twice", by=shop.maker, at=on(AT))
    recognise(customer, AT)
    assert balances(customer) == {}

    second = shops.issued(shop, customer, 10_000)
    write_off_invoice(invoice=second, reason="insolvent", by=shop.approver, at=on("2026-10-31"))
    recognise(customer, "2026-12-01")

    # A third of 100.00 was delivered; the tax stays payable, so that it is lost as well.
    assert balances(customer) == {"2300": -1_900, "4000": -3_333, "6200": 5_233}
