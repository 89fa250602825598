"""Estimates are proposed with their evidence, approved by others, and followed at the close."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from billing_project.kernel.approvals import Proposal, approve, is_as_proposed
from billing_project.kernel.effects import simulate
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from credits.models import CreditGrant
from credits.services.grants import expire_grant
from invoicing.models import Invoice, LegalEntity
from invoicing.services.entities import EntityTerms, assign_entity, propose_legal_entity
from metering.models import Customer
from revrec import checks
from revrec.breakage import Method
from revrec.models import BreakageEstimate, JournalEntry, VariableEstimate
from revrec.selectors.estimates import close_targets
from revrec.selectors.tables import REPORTS, drill_total
from revrec.services.estimates import (
    BreakageTerms,
    VariableTerms,
    propose_breakage,
    propose_variable,
)
from revrec.variable import EstimateMethod, Outcome
from tests.console.backoffice import client_of, page_of
from tests.invoicing.builders import open_market
from tests.revrec.builders import LONG_AGO, Shop, balances, close_month, on, recognise, signed

pytestmark = pytest.mark.django_db
TERMS = BreakageTerms(
    code="packs", currency="USD", sold_from=date(2026, 1, 1), sold_until=None,
    method=Method.PROPORTIONAL, rate=Decimal("0.10"),
    evidence="Of 400 packs sold in 2025, 10.1 % of the credits expired.",
)  # fmt: skip


def _words(at: str) -> Proposal:
    return Proposal("Estimate", "wanted", "computed", "close", on(at))


def _breakage(shop: Shop, terms: BreakageTerms = TERMS, at: str = "2026-01-02") -> BreakageEstimate:
    estimate = propose_breakage(terms=terms, proposal=_words(at), by=shop.maker, at=on(at))
    approve(change=estimate.policy_change, by=shop.approver, reason="agreed", at=on(at))
    return estimate


@pytest.fixture
def cohort(shop: Shop) -> Customer:
    """Return a customer with a pack of 1,000 credits for 100.00, 300 of them used in January."""
    customer = shop.subscriber("2026-01-01", overage="0.05")
    shop.grant(customer, "1000", "2026-01-01", price=10_000)
    shop.use(customer, "300", "2026-01-15T10")
    return customer


def test_a_cohort_without_an_estimate_is_remote(
    shop: Shop, cohort: Customer, books_hold: None
) -> None:
    period = close_month("2026-01-01", "2026-02-01")

    assert close_targets(period) == []
    assert "2190" not in balances()


def test_breakage_is_earned_with_use_caught_up_and_unwound_at_expiry(
    shop: Shop, cohort: Customer, books_hold: None
) -> None:
    _breakage(shop)
    close_month("2026-01-01", "2026-02-01")
    january = balances(until=date(2026, 2, 1))
    shop.renew("2026-02-02")
    shop.use(cohort, "300", "2026-02-10T10")
    _breakage(shop, replace(TERMS, rate=Decimal("0.15")), "2026-02-20")
    february = close_month("2026-02-01", "2026-03-01")
    in_february = balances(until=date(2026, 3, 1))
    tables = {name: report.build(february) for name, report in REPORTS.items()}
    report = tables["deferred_rollforward"].rows[0]
    figures = [f for table in tables.values() for row in table.rows for f in row.figures.values()]
    assert all(f.drill is None or drill_total(f.drill) == f.amount_minor for f in figures)
    expire_grant(
        grant=CreditGrant.objects.get(), reason_code="agreed", by=shop.maker, at=on("2026-03-05")
    )
    shop.renew("2026-03-06")
    close_month("2026-03-01", "2026-04-01")
    in_march = balances(until=date(2026, 4, 1))

    # 10.00 unused x 30.00 / (30.00 + 60.00) = 3.33.
    assert (january["2190"], january["4030"]) == (333, -333)
    # Estimated anew at 15 %: 15.00 x 60.00 / (60.00 + 25.00) = 10.59.
    assert (in_february["2190"], in_february["4030"]) == (1_059, -1_059)
    # 40.00 expired, and nothing is open: the contra account is empty.
    assert "2190" not in in_march
    assert in_march["4030"] == -4_000
    assert report.figures["breakage"].amount_minor == -(1_059 - 333)
    assert report.figures["other"].amount_minor == 0


def test_a_proposed_estimate_says_what_the_next_close_would_hold(
    shop: Shop, cohort: Customer
) -> None:
    recognise(cohort, "2026-01-31")
    estimate = propose_breakage(
        terms=TERMS, proposal=_words("2026-01-02"), by=shop.maker, at=on("2026-01-02")
    )
    rebate = propose_variable(
        terms=_rebate(cohort, ("31", "0.2"), ("25", "0.8")), proposal=_words("2026-01-02"),
        by=shop.maker, at=on("2026-01-02"),
    )  # fmt: skip

    breakage, variable = simulate(estimate.policy_change), simulate(rebate.policy_change)

    assert breakage is not None
    assert variable is not None
    # 10.00 unused x 30.00 / (30.00 + 60.00) = 3.33, as the close posts it below.
    assert [(row.before, row.after, row.unit) for row in breakage.rows] == [
        (Decimal("0.00"), Decimal("3.33"), "USD")
    ]
    assert [(row.before, row.after, row.customer_id) for row in variable.rows] == [
        (Decimal("0.00"), Decimal("-6.00"), cohort.pk)
    ]
    for change in (estimate.policy_change, rebate.policy_change):
        approve(change=change, by=shop.approver, reason="agreed", at=on("2026-01-03"))
    close_month("2026-01-01", "2026-02-01")
    found = balances(until=date(2026, 2, 1))
    assert (found["2190"], found["2210"]) == (333, -600)


def test_what_the_law_claims_is_no_revenue(shop: Shop, cohort: Customer, books_hold: None) -> None:
    _breakage(shop, replace(TERMS, method=Method.ESCHEAT, rate=Decimal(0)))
    expire_grant(
        grant=CreditGrant.objects.get(), reason_code="agreed", by=shop.maker, at=on("2026-01-20")
    )

    close_month("2026-01-01", "2026-02-01")

    found = balances()
    assert (found["2400"], found.get("4030", 0)) == (-7_000, 0)


def test_other_cohorts_keep_their_method(shop: Shop, cohort: Customer, books_hold: None) -> None:
    _breakage(shop, replace(TERMS, sold_from=date(2026, 2, 1)))
    _breakage(shop, replace(TERMS, code="euro", currency="EUR"))

    close_month("2026-01-01", "2026-02-01")

    assert "2190" not in balances()


def test_an_estimate_that_nobody_approved_moves_nothing_and_keeps_the_month_open(
    shop: Shop, cohort: Customer
) -> None:
    propose_breakage(terms=TERMS, proposal=_words("2026-01-02"), by=shop.maker, at=on("2026-01-02"))

    with pytest.raises(Conflict, match="Estimate waits for approval"):
        close_month("2026-01-01", "2026-02-01")


def _rebate(customer: Customer, *outcomes: tuple[str, str]) -> VariableTerms:
    return VariableTerms(
        code="rebate", customer=customer, currency="USD", revenue_account="4000",
        method=EstimateMethod.MOST_LIKELY,
        outcomes=[Outcome(Decimal(a), Decimal(p)) for a, p in outcomes],
        confidence=Decimal("0.75"), billed_minor=3_100, evidence="The contract's annex B.",
    )  # fmt: skip


def test_expected_refunds_are_a_liability_until_the_estimate_says_otherwise(
    shop: Shop, books_hold: None
) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)

    def say(at: str, *outcomes: tuple[str, str]) -> VariableEstimate:
        estimate = propose_variable(
            terms=_rebate(customer, *outcomes), proposal=_words(at), by=shop.maker, at=on(at)
        )
        approve(change=estimate.policy_change, by=shop.approver, reason="agreed", at=on(at))
        return estimate

    first = say("2026-01-10", ("31", "0.2"), ("25", "0.8"))
    close_month("2026-01-01", "2026-02-01")
    january = balances(until=date(2026, 2, 1))
    say("2026-02-10", ("31", "0.9"), ("25", "0.1"))
    shop.pay(Invoice.objects.get(), "2026-02-11")
    close_month("2026-02-01", "2026-03-01")

    assert first.refund_minor == 600
    assert (january["2210"], january["4000"]) == (-600, -2_500)
    assert balances() == {"1000": 3_100, "4000": -3_100}
    entry = JournalEntry.objects.filter(kind="refunds_estimated").latest("pk")
    assert (entry.customer, signed(entry)) == (customer, {"2210": 600, "4000": -600})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rate": Decimal(0)}, "rate"),
        ({"rate": Decimal(1)}, "rate"),
        ({"rate": Decimal("0.123456789")}, "rate"),
        ({"method": Method.REMOTE}, "rate"),
        ({"evidence": " "}, "evidence"),
        ({"currency": "ZZZ"}, "currency"),
        ({"code": "a:b"}, "code"),
        ({"sold_from": date(2026, 1, 2)}, "sold_from"),
        ({"sold_until": date(2026, 1, 1)}, "sold_until"),
    ],
)
def test_bad_breakage_is_refused(shop: Shop, change: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        _breakage(shop, replace(TERMS, **change))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"revenue_account": "1100"}, "revenue_account"),
        ({"revenue_account": "4900"}, "revenue_account"),
        ({"confidence": Decimal(0)}, "confidence"),
        ({"billed_minor": 1_000}, "outcomes"),
        ({"outcomes": [Outcome(Decimal(1), Decimal("0.4"))]}, "outcomes"),
    ],
)
def test_bad_variable_consideration_is_refused(
    shop: Shop, change: dict[str, Any], field: str
) -> None:
    terms = replace(_rebate(shop.customer(), ("31", "0.2"), ("25", "0.8")), **change)

    with pytest.raises(Invalid) as refused:
        propose_variable(
            terms=terms, proposal=_words("2026-01-02"), by=shop.maker, at=on("2026-01-02")
        )
    assert refused.value.field == field


def test_an_approved_estimate_is_as_it_was_proposed(shop: Shop) -> None:
    first, second = _breakage(shop), _breakage(shop, at="2026-01-03")

    assert (first.number, second.number) == (1, 2)
    assert is_as_proposed(first.policy_change)
    for statement in (
        "UPDATE breakage_estimate SET rate = 0.5", "DELETE FROM breakage_estimate",
    ):  # fmt: skip
        with connection.cursor() as cursor, pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute(statement)


def test_the_books_find_what_an_estimate_does_not_explain(
    shop: Shop, cohort: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _breakage(shop)
    nothing: Callable[..., int] = lambda **words: 0  # noqa: E731 - a close that forgets
    monkeypatch.setattr("revrec.services.periods.true_up", nothing)
    recognise(cohort, "2026-02-01")

    close_month("2026-01-01", "2026-02-01")

    [finding] = checks.estimates_tie()
    assert finding.message == "expected 333, found 0"


def test_finance_proposes_an_estimate_in_the_back_office(maker: User, auditor: User) -> None:
    client = client_of(maker)
    address = reverse("admin:revrec_breakageestimate_propose")
    nonce = client.get(address).context["form"]["nonce"].value()
    said = {
        "nonce": nonce, "code": "packs", "currency": "usd", "sold_from": "2026-01-01",
        "method": "proportional", "rate": "0.10", "effective_on": "2026-01-01",
        "evidence": "Last year.",
    }  # fmt: skip

    refused = client.post(address, {**said, "sold_from": "2026-01-05"})
    client.post(address, said)

    estimate = BreakageEstimate.objects.get()
    assert refused.status_code == 422
    assert (estimate.currency, estimate.rate) == ("USD", Decimal("0.10"))
    assert estimate.policy_change.proposed_by == maker
    assert "Last year." in client_of(auditor).get(page_of(estimate)).content.decode()


def test_an_estimate_that_ran_out_keeps_no_liability(shop: Shop, books_hold: None) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    recognise(customer, "2026-01-31")
    until = replace(_words("2026-01-02"), expires_at=on("2026-02-15"))
    estimate = propose_variable(
        terms=_rebate(customer, ("31", "0.2"), ("25", "0.8")), proposal=until, by=shop.maker,
        at=on("2026-01-02"),
    )  # fmt: skip
    approve(change=estimate.policy_change, by=shop.approver, reason="so", at=on("2026-01-03"))
    close_month("2026-01-01", "2026-02-01")
    assert balances()["2210"] == -600
    shop.renew("2026-02-01")
    recognise(customer, "2026-02-28")

    close_month("2026-02-01", "2026-03-01")

    assert "2210" not in balances()
    last = JournalEntry.objects.filter(kind="refunds_estimated").latest("pk")
    assert last.description.endswith("v1 is over")


def test_breakage_stands_in_the_books_of_each_entity_that_sold(
    shop: Shop, cohort: Customer, books_hold: None
) -> None:
    other = shop.customer()
    terms = EntityTerms(
        code="de", series_prefix="DE", legal_name="de", address="1 Main St", country="US",
        currency="USD",
    )  # fmt: skip
    version = propose_legal_entity(
        terms=terms, proposal=replace(_words("2026-01-01"), effective_at=LONG_AGO), by=shop.maker,
        at=LONG_AGO,
    )  # fmt: skip
    approve(change=version.policy_change, by=shop.approver, reason="so", at=LONG_AGO)
    entity = LegalEntity.objects.get(code="de")
    assign_entity(customer=other, entity=entity, by=shop.maker, at=LONG_AGO)
    open_market(shop, "", "USD", entity="de")
    shop.subscribe(other, "2026-01-01", overage="0.05")
    shop.grant(other, "1000", "2026-01-01", price=20_000)
    shop.use(other, "500", "2026-01-15T10")
    _breakage(shop)

    close_month("2026-01-01", "2026-02-01")

    # 10.00 x 30.00 / 90.00 = 3.33, and 20.00 x 100.00 / 180.00 = 11.11.
    trued_up = JournalEntry.objects.filter(kind="breakage_trued_up").order_by("entity_id")
    assert [(entry.entity.code, signed(entry)["2190"]) for entry in trued_up] == [
        ("main", 333), ("de", 1_111),
    ]  # fmt: skip
