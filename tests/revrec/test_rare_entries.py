"""What is seldom posted, through the services: notes that buy credits, and voids in other money."""

from datetime import date
from decimal import Decimal

import pytest

from billing_project.kernel.approvals import Proposal, approve
from credits.models import CreditGrant
from invoicing.models import CustomerBalance, Invoice
from invoicing.services.endings import void_invoice
from invoicing.services.entities import EntityTerms, propose_legal_entity
from revrec.models import Posting
from revrec.services.exchange import RateInput, propose_rates
from tests.revrec.builders import LONG_AGO, Shop, balances, close_month, entries, on, recognise
from tests.revrec.contracts import live_contracts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]
WORDS = Proposal("test", "wanted", "done", "test", LONG_AGO)


def test_all_that_finance_decides_of_contracts_goes_together(shop: Shop) -> None:
    customer = live_contracts(shop)

    assert recognise(customer, "2026-02-10") == 0
    recognise(customer, "2026-04-02")
    assert "2120" not in balances(customer)


def test_rule_14_what_a_note_owes_back_buys_new_credits(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    fee = Invoice.objects.get(customer=customer)
    shop.pay(fee, "2026-01-01")
    shop.credit(fee, 3_100, "billing_error", "2026-01-01T01")

    pack = shop.pack(customer, "310", 3_100, "2026-01-01T02")
    recognise(customer, "2026-01-01T03")

    # 2120 to 2200 with the note, 2200 to 1100 with the pack's invoice, and that is 2100.
    pack.refresh_from_db()
    assert (pack.status, pack.applied_minor) == ("paid", 3_100)
    assert CreditGrant.objects.get(customer=customer).price_minor == 3_100
    assert CustomerBalance.objects.get(customer=customer).balance_minor == 0
    assert balances(customer) == {"1000": 3_100, "2100": -3_100}


def test_rule_22_a_void_unwinds_what_a_close_valued(shop: Shop) -> None:
    terms = EntityTerms(
        code="main", series_prefix="", legal_name="Example Inc.", address="1 Main St",
        country="US", currency="USD",
    )  # fmt: skip
    days = {"2026-01-01": "1.10", "2026-01-20": "1.25", "2026-02-01": "1.00"}
    rates = [RateInput("EUR", "USD", date.fromisoformat(d), Decimal(r)) for d, r in days.items()]
    version = propose_legal_entity(terms=terms, proposal=WORDS, by=shop.maker, at=LONG_AGO)
    sheet = propose_rates(
        source="a bank", end_on=date(2026, 12, 31), rates=rates, proposal=WORDS, by=shop.maker,
        at=LONG_AGO,
    )  # fmt: skip
    for change in (version.policy_change, sheet.policy_change):
        approve(change=change, by=shop.approver, reason="read", at=LONG_AGO)
    customer = shop.subscriber("2026-01-01", currency="EUR")
    pack = shop.pack(customer, "100", 10_000, "2026-01-02")
    close_month("2026-01-01", "2026-02-02")
    void_invoice(invoice=pack, reason="mistake", by=shop.maker, at=on("2026-02-03"))

    recognise(customer, "2026-02-04")

    # Sold at 110.00; the claim was worth 125.00 at the close: that gain goes with the claim.
    [voided] = entries(customer, "invoice_voided")
    assert {p.account_id: p.worth_minor for p in voided.postings.all()} == {
        "2100": 11_000, "1100": -12_500, "7000": 1_500,
    }  # fmt: skip
    worth: dict[str, int] = {}
    for posting in Posting.objects.filter(customer=customer):
        worth[posting.account_id] = worth.get(posting.account_id, 0) + posting.worth_minor
    assert set(worth.values()) == {0}
