"""Credits that roll over, come back or are reinstated keep their promise in the books."""

from decimal import Decimal

import pytest

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.users import worker_user
from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from credits.services.grants import expire_due_grants, expire_grant, void_grant
from credits.services.reinstating import reinstate_grant
from credits.services.terms import TermsInput, issue_under_terms, propose_grant_terms
from metering.models import Customer
from metering.services.adjust import cancel_event
from revrec.models import PerformanceObligation
from tests.revrec.builders import LONG_AGO, Shop, balances, entries, on, recognise, signed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]


def _words(title: str) -> Proposal:
    return Proposal(title, "wanted", "done", "test", LONG_AGO)


@pytest.fixture
def customer(shop: Shop) -> Customer:
    """Return a customer who subscribed and used nothing."""
    return shop.subscriber("2026-01-01")


def _rolling(shop: Shop, customer: Customer, rollover: str, value: str) -> CreditGrant:
    """Return 1,000 credits, paid with 100.00, whose terms roll over what is left on 21 January."""
    terms = propose_grant_terms(
        code=rollover, by=shop.maker, at=LONG_AGO, proposal=_words("terms"),
        terms=TermsInput("paid", life_days=20, rollover=rollover, rollover_value=Decimal(value)),
    )  # fmt: skip
    approve(change=terms.policy_change, by=shop.approver, reason="agreed", at=LONG_AGO)
    return issue_under_terms(
        terms=terms, customer=customer, amount=Decimal(1_000), pricing_unit=shop.unit,
        reason_code="test", source_key=f"test:{rollover}", by=shop.maker, at=on("2026-01-01"),
        effective_at=on("2026-01-01"), price_minor=10_000,
    )  # fmt: skip


def test_what_rolls_over_stays_deferred_and_what_does_not_is_breakage(
    shop: Shop, customer: Customer
) -> None:
    _rolling(shop, customer, "fraction", "0.25")
    shop.use(customer, "200", "2026-01-03T10")
    expire_due_grants(by=worker_user(), at=on("2026-01-22"))

    recognise(customer, "2026-01-22")

    # 200 used; of 800 left 200 roll over and 600 end. A credit is worth 0.10.
    assert balances(customer) == {"1000": 10_000, "2100": -2_000, "4010": -2_000, "4030": -6_000}
    assert PerformanceObligation.objects.filter(grant__isnull=False).count() == 1


def test_what_rolled_over_earns_at_its_own_basis_when_it_is_used_and_ends(
    shop: Shop, customer: Customer
) -> None:
    _rolling(shop, customer, "cap", "333")
    expire_due_grants(by=worker_user(), at=on("2026-01-22"))
    shop.use(customer, "100", "2026-01-25T10")
    recognise(customer, "2026-01-26")
    assert balances(customer) == {"1000": 10_000, "2100": -2_330, "4010": -1_000, "4030": -6_670}

    expire_due_grants(by=worker_user(), at=on("2026-02-12"))
    recognise(customer, "2026-02-12")

    # What rolled over once ends with its second life: nothing stays deferred.
    assert balances(customer) == {"1000": 10_000, "4010": -1_000, "4030": -9_000}


def test_late_usage_of_what_had_ended_takes_its_breakage_back(
    shop: Shop, customer: Customer
) -> None:
    shop.grant(customer, "1000", "2026-01-01", price=10_000, expires="2026-01-20")
    expire_due_grants(by=worker_user(), at=on("2026-01-21"))
    recognise(customer, "2026-01-21")
    assert balances(customer) == {"1000": 10_000, "4030": -10_000}

    shop.use(customer, "400", "2026-01-19T10")
    recognise(customer, "2026-01-22")

    assert LedgerTransaction.objects.filter(kind=LedgerKind.REINSTATED).count() == 1
    assert balances(customer) == {"1000": 10_000, "4010": -4_000, "4030": -6_000}


@pytest.mark.parametrize("end", [void_grant, expire_grant])
def test_a_reinstated_grant_owes_again_what_its_end_released(
    shop: Shop, customer: Customer, end: object
) -> None:
    grant = shop.grant(customer, "1000", "2026-01-01", price=10_000)
    shop.use(customer, "300", "2026-01-03T10")
    end(grant=grant, reason_code="mistake", by=shop.maker, at=on("2026-01-05"))  # type: ignore[operator]
    recognise(customer, "2026-01-06")
    assert balances(customer) == {"1000": 10_000, "4010": -3_000, "4030": -7_000}

    reinstate_grant(grant=grant, reason_code="undone", by=shop.maker, at=on("2026-01-07"))
    recognise(customer, "2026-01-08")
    assert balances(customer) == {"1000": 10_000, "2100": -7_000, "4010": -3_000}

    shop.use(customer, "700", "2026-01-09T10")
    recognise(customer, "2026-01-10")
    assert balances(customer) == {"1000": 10_000, "4010": -10_000}


def test_a_return_after_the_end_defers_again_until_its_linked_grant_ends(
    shop: Shop, customer: Customer
) -> None:
    shop.grant(customer, "1000", "2026-01-01", price=10_000, expires="2026-01-20")
    used = shop.use(customer, "600", "2026-01-19T10")
    expire_due_grants(by=worker_user(), at=on("2026-01-21"))
    recognise(customer, "2026-01-21")
    assert balances(customer) == {"1000": 10_000, "4010": -6_000, "4030": -4_000}

    cancel_event(
        customer=customer, identifier=used, reason="twice", by=shop.maker, at=on("2026-01-25")
    )
    shop.rate(customer, on("2026-01-25"))
    recognise(customer, "2026-01-26")
    assert balances(customer) == {"1000": 10_000, "2100": -6_000, "4030": -4_000}

    expire_due_grants(by=worker_user(), at=on("2026-03-01"))
    recognise(customer, "2026-03-01")
    assert balances(customer) == {"1000": 10_000, "4030": -10_000}
    assert [sum(signed(entry).values()) for entry in entries(customer, "credits_expired")] == [0, 0]
