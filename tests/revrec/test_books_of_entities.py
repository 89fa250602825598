"""What is nobody's stands in its own entity's books, at what it is worth there."""

from datetime import date
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing_project.kernel.approvals import Proposal, approve
from invoicing.models import Invoice, LegalEntity
from invoicing.services.entities import EntityTerms, assign_entity, propose_legal_entity
from metering.models import Customer
from revrec.models import JournalEntry, Posting
from revrec.services.exchange import RateInput, propose_rates
from revrec.services.losses import propose_losses
from tests.invoicing.builders import open_market
from tests.revrec.builders import LONG_AGO, Shop, balances, close_month, recognise, signed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]
WORDS = Proposal("books", "wanted", "done", "test", LONG_AGO)
SHARES = {"1_to_30": Decimal("0.1"), "31_to_60": Decimal("0.5")}


def _entity(shop: Shop, code: str, currency: str) -> LegalEntity:
    terms = EntityTerms(
        code=code, series_prefix="" if code == "main" else code.upper(), legal_name=code,
        address="1 Main St", country="US", currency=currency,
    )  # fmt: skip
    version = propose_legal_entity(terms=terms, proposal=WORDS, by=shop.maker, at=LONG_AGO)
    approve(change=version.policy_change, by=shop.approver, reason="so", at=LONG_AGO)
    return LegalEntity.objects.get(code=code)


def _owes(shop: Shop, entity: LegalEntity) -> Customer:
    """Let an entity sell a pack for 100.00 EUR, and expect losses in euros."""
    customer = shop.customer("EUR")
    if entity.code != "main":
        open_market(shop, "", "EUR", entity=entity.code)
        assign_entity(customer=customer, entity=entity, by=shop.maker, at=LONG_AGO)
    shop.pack(customer, "10", 10_000, "2026-01-02")
    recognise(customer, "2026-01-03")
    return customer


@pytest.fixture
def shares(shop: Shop) -> None:
    made = propose_losses(
        currency="EUR", rates=SHARES, evidence="eight quarters", proposal=WORDS, by=shop.maker,
        at=LONG_AGO,
    )  # fmt: skip
    approve(change=made.policy_change, by=shop.approver, reason="read", at=LONG_AGO)


@pytest.mark.usefixtures("shares")
def test_losses_are_expected_by_the_entity_that_claims_in_its_own_currency(shop: Shop) -> None:
    _entity(shop, "main", "USD")
    euros = _entity(shop, "eu", "EUR")
    customer = _owes(shop, euros)

    close_month("2026-01-01", "2026-02-02")  # Nobody needs a rate of euros in dollars.

    [expected] = JournalEntry.objects.filter(kind="losses_expected")
    assert (expected.entity, signed(expected)) == (euros, {"1190": -1_000, "6200": 1_000})
    shop.pay(Invoice.objects.get(customer=customer), "2026-02-03")
    recognise(customer, "2026-03-01")
    close_month("2026-02-01", "2026-03-02")
    assert "1190" not in balances()


@pytest.mark.usefixtures("shares")
def test_two_entities_value_the_same_currency_each_for_itself(shop: Shop) -> None:
    dollars, pounds = _entity(shop, "main", "USD"), _entity(shop, "uk", "GBP")
    rates = [
        RateInput("EUR", books, date.fromisoformat(day), Decimal(value))
        for books, day, value in (
            ("USD", "2026-01-01", "1.10"), ("USD", "2026-02-01", "1.20"),
            ("GBP", "2026-01-01", "0.80"), ("GBP", "2026-02-01", "0.90"),
        )
    ]  # fmt: skip
    sheet = propose_rates(
        source="a bank", end_on=date(2026, 12, 31), rates=rates, proposal=WORDS, by=shop.maker,
        at=LONG_AGO,
    )  # fmt: skip
    approve(change=sheet.policy_change, by=shop.approver, reason="read", at=LONG_AGO)
    for entity in (dollars, pounds):
        _owes(shop, entity)

    close_month("2026-01-01", "2026-02-02")
    close_month("2026-02-01", "2026-03-02")

    # 10.00 EUR at the rate of January, 40.00 more at that of February; all of it valued at that.
    allowances = Posting.objects.filter(account="1190").order_by("entry__entity")
    worth = allowances.values_list("entry__entity__code").annotate(Sum("functional_minor"))
    assert list(worth) == [("main", -6_000), ("uk", -4_500)]
