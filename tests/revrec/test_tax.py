"""Tax in the books: claimed with the line, payable until notes take it back, never revenue."""

import pytest

from invoicing.models import Invoice
from invoicing.services.disputes import record_dispute, record_dispute_outcome
from invoicing.services.endings import void_invoice, write_off_invoice
from metering.models import Customer
from revrec.posting import About, Account
from revrec.provider import Delivery, dispute_lost, losses
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


def test_a_lost_dispute_takes_back_the_tax_of_its_share(shop: shops.Shop) -> None:
    customer, invoice = _issued(shop)
    shops.paid(shop, invoice)
    dispute = record_dispute(
        invoice=invoice, amount_minor=5_950, reason="general", method="stripe", reference="du_1",
        opened_at=on(AT), by=shop.maker, at=on(AT),
    )  # fmt: skip
    record_dispute_outcome(
        dispute=dispute, verdict="lost", decided_at=on("2026-10-31"), by=shop.maker,
        at=on("2026-10-31"),
    )  # fmt: skip
    recognise(customer, "2026-12-01")

    # Half of 119.00: 9.50 of tax, and 50.00 net, all of which was not delivered by then.
    assert balances(customer) == {"1000": 5_950, "2300": -950, "4000": -5_000}


def test_the_tax_of_a_lost_dispute_is_its_share_of_each_line() -> None:
    taxed = Delivery(11_900, None, 0, About("USD", None, 11), 1_900)
    plain = Delivery(5_000, Account.FEES_LIABILITY, 5_000, About("USD", 1, 12))

    found, elsewhere = losses(17_000, [taxed, plain])

    assert [(one.tax_minor, one.released_minor, one.lost_minor) for one in found] == [
        (1_900, 0, 10_000), (0, 5_000, 0),
    ]  # fmt: skip
    assert elsewhere == 100
    lines = dispute_lost(found, elsewhere, True, About("USD"))
    assert {(line.account.value, line.amount_minor) for line in lines} == {
        ("6200", 100), ("6200", 10_000), ("2300", 1_900), ("2120", 5_000), ("1230", -17_000),
    }  # fmt: skip
