"""Outcomes earn when they are accepted; what is not invoiced yet is unbilled."""

from datetime import date

import pytest

from invoicing.items import Item
from invoicing.models import Invoice, Outcome
from invoicing.services.endings import void_and_regenerate
from invoicing.services.outcomes import decide_outcome, record_outcome
from metering.models import Customer
from revrec.models import PerformanceObligation
from tests.revrec.builders import Shop, balances, entries, on, recognise

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]

RESOLVED = Item("outcome", "resolved", "Resolved ticket", 99)


def _outcome(shop: Shop, customer: Customer, name: str, *states: tuple[str, str]) -> Outcome:
    outcome = record_outcome(
        customer=customer, code="resolved", identifier=name, occurred_at=on("2026-01-05"),
        note="", by=shop.maker, at=on("2026-01-05"),
    )  # fmt: skip
    for state, at in states:
        decide_outcome(outcome=outcome, state=state, reason="x", by=shop.maker, at=on(at))
    return outcome


def test_an_accepted_outcome_is_earned_on_its_day_and_billed_later(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", items=(RESOLVED,))
    _outcome(shop, customer, "t1", ("accepted", "2026-01-07"))
    _outcome(shop, customer, "t2", ("disputed", "2026-01-07"), ("accepted", "2026-01-09"))
    _outcome(shop, customer, "t3", ("accepted", "2026-01-07"), ("disputed", "2026-01-10"))
    _outcome(shop, customer, "t4", ("rejected", "2026-01-07"))

    recognise(customer, "2026-01-11")
    assert balances(customer) == {"1200": 198, "4050": -198}
    assert balances(customer, until=date(2026, 1, 8)) == {"1200": 198, "4050": -198}

    shop.renew("2026-02-01")
    shop.renew("2026-02-02T01")
    recognise(customer, "2026-02-02T02")

    assert balances(customer) == {"1100": 198, "4050": -198}
    assert len(entries(customer, "outcome_decided")) == 4
    assert recognise(customer, "2026-02-02T02") == 0


def test_a_note_on_outcomes_takes_revenue_back(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", items=(RESOLVED,))
    _outcome(shop, customer, "t1", ("accepted", "2026-01-07"))
    shop.renew("2026-02-01")
    shop.renew("2026-02-02T01")
    recognise(customer, "2026-02-02T02")

    shop.credit(Invoice.objects.get(), 99, "service_failure", "2026-02-03")
    recognise(customer, "2026-02-03T01")

    assert balances(customer) == {"4050": -99, "4900": 99}
    promise = PerformanceObligation.objects.get(kind="outcome")
    assert (promise.price_minor, promise.recognised_minor) == (0, 0)


def test_a_void_leaves_outcomes_earned_and_unbilled(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", items=(RESOLVED,))
    _outcome(shop, customer, "t1", ("accepted", "2026-01-07"))
    shop.renew("2026-02-01")
    shop.renew("2026-02-02T01")
    recognise(customer, "2026-02-02T02")

    void_and_regenerate(
        invoice=Invoice.objects.get(), reason="wrong address", by=shop.maker, at=on("2026-02-03")
    )
    recognise(customer, "2026-02-03T01")
    assert balances(customer) == {"1200": 99, "4050": -99}

    shop.renew("2026-02-05")
    recognise(customer, "2026-02-05T01")
    assert balances(customer) == {"1100": 99, "4050": -99}
