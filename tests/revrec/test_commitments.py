"""Commitments that are paid ahead: earned as they are used, the rest with the end of the term."""

from datetime import date
from decimal import Decimal

import pytest

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.errors import IdempotencyConflict, Invalid
from billing_project.kernel.users import worker_user
from credits.models import CreditGrant
from credits.services.grants import expire_due_grants, void_grant
from invoicing.items import BadItem, Item, refuse_unsound
from invoicing.models import ChangeKind, CreditNote, Invoice, InvoiceLine, LineKind
from invoicing.phases import Moment
from invoicing.services.changes import Asked, change_subscription
from invoicing.services.endings import void_invoice
from invoicing.services.packs import sell_commitment
from metering.models import Customer
from revrec.breakage import Method
from revrec.models import PerformanceObligation
from revrec.posting import EntryKind, credits_expired
from revrec.selectors.reports import deferred_rollforward
from revrec.selectors.shortfall_ties import misplaced_ends
from revrec.selectors.tables import REPORTS
from revrec.services.drafts import about
from revrec.services.estimates import BreakageTerms, propose_breakage
from revrec.services.journal import EntryDraft, post_entries
from revrec.services.months import ensure_period
from tests.console.backoffice import action_url, client_of, person, send
from tests.revrec.builders import Shop, balances, close_month, entries, on, recognise
from tests.revrec.vectors import VECTORS, minor

pytestmark = pytest.mark.django_db
YEAR = ("2026-01-01", "2027-01-01")


def _committed(shop: Shop, amount: str, price: int, paid: str = "2026-01-01") -> Customer:
    customer = shop.subscriber("2026-01-01", overage="1.00")
    shop.pay(shop.commitment(customer, amount, price, YEAR, "2026-01-01"), paid)
    return customer


@pytest.mark.usefixtures("books_hold")
def test_own_12_what_a_prepaid_commitment_leaves_unused_is_earned_at_its_end(shop: Shop) -> None:
    inputs, expected = VECTORS["OWN-12"]["inputs"], VECTORS["OWN-12"]["expected"]
    customer = _committed(shop, str(inputs["commit"]), minor(inputs["commit"]))
    shop.renew("2026-06-01")
    shop.use(customer, str(inputs["usage"]), "2026-06-01T09")
    expire_due_grants(by=worker_user(), at=on("2027-01-02"))

    recognise(customer, "2027-01-02")

    assert balances(customer) == {
        "1000": minor(inputs["commit"]),
        "4010": -minor(expected["usage_revenue"]),
        "4040": -minor(expected["shortfall_revenue_at_term_end"]),
    }
    [ended] = entries(customer, "shortfall_earned")
    assert ended.effective_on == date(2026, 12, 31)  # The term's last day, not the day after it.
    [row] = deferred_rollforward(ensure_period(date(2026, 12, 1)))
    assert (row.breakage_minor, row.other_minor, row.closing_minor) == (250_000, 0, 0)
    assert recognise(customer, "2027-01-02") == 0


@pytest.mark.usefixtures("books_hold")
def test_a_month_does_not_close_without_the_shortfall_of_terms_that_ended_with_it(
    shop: Shop,
) -> None:
    customer = shop.subscriber("2026-01-01")
    term = ("2026-01-01", "2026-02-01")
    shop.pay(shop.commitment(customer, "1000", 10_000, term, "2026-01-01"), "2026-01-01")
    later = shop.grant(customer, "10", "2026-01-01", price=100, expires="2026-02-02T06")

    close_month("2026-01-01", "2026-02-03")  # The worker ended nothing meanwhile.

    [ended] = entries(customer, "shortfall_earned")
    assert (ended.effective_on, ended.period.status) == (date(2026, 1, 31), "closed")
    later.refresh_from_db()
    assert later.remaining == 10  # It is over as well, but not with the month: that is the job's.


@pytest.mark.usefixtures("books_hold")
def test_late_usage_of_the_term_takes_its_part_of_the_shortfall_back(shop: Shop) -> None:
    customer = _committed(shop, "1000", 10_000)
    shop.renew("2026-12-01")
    expire_due_grants(by=worker_user(), at=on("2027-01-01T02"))
    recognise(customer, "2027-01-02")

    shop.use(customer, "300", "2026-12-31T20")  # Rated after the term: it burns what had ended.
    recognise(customer, "2027-01-03")

    assert balances(customer) == {"1000": 10_000, "4010": -3_000, "4040": -7_000}


@pytest.mark.usefixtures("books_hold")
def test_money_back_comes_off_the_liability_first_and_then_off_the_shortfall(shop: Shop) -> None:
    customer = _committed(shop, "1000", 10_000)
    shop.use(customer, "400", "2026-01-05T09")
    grant = CreditGrant.objects.get(customer=customer)
    void_grant(grant=grant, reason_code="ended early", by=shop.maker, at=on("2026-01-10"))
    invoice = Invoice.objects.get(source_key__startswith="commitment:")

    shop.credit(invoice, 7_000, "product_unsatisfactory", "2026-01-11")
    recognise(customer, "2026-01-12")

    # 60.00 were the unused part, 10.00 had paid for credits that were used.
    assert balances(customer) == {"1000": 10_000, "2200": -7_000, "4010": -4_000, "4910": 1_000}


@pytest.mark.usefixtures("books_hold")
def test_one_that_is_paid_after_its_term_is_a_shortfall_of_the_day_it_was_granted(
    shop: Shop,
) -> None:
    customer = _committed(shop, "1000", 10_000, paid="2027-02-01")
    recognise(customer, "2027-02-02")
    assert balances(customer) == {"1000": 10_000, "2100": -10_000}

    expire_due_grants(by=worker_user(), at=on("2027-02-02"))
    recognise(customer, "2027-02-02")

    assert balances(customer) == {"1000": 10_000, "4040": -10_000}
    [ended] = entries(customer, "shortfall_earned")
    assert ended.effective_on == date(2027, 2, 1)


@pytest.mark.usefixtures("books_hold")
def test_a_void_takes_back_what_nobody_paid(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    invoice = shop.commitment(customer, "1000", 10_000, YEAR, "2026-01-01")
    recognise(customer, "2026-01-02")
    assert balances(customer) == {"1100": 10_000, "2100": -10_000}

    void_invoice(invoice=invoice, reason="mistake", by=shop.maker, at=on("2026-01-03"))
    recognise(customer, "2026-01-04")

    assert balances(customer) == {}


def test_its_credits_begin_and_end_with_the_term(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    term = ("2026-03-01", "2026-06-01")
    invoice = shop.commitment(customer, "1000", 10_000, term, "2026-01-01")
    shop.pay(invoice, "2026-01-02")

    grant = CreditGrant.objects.get(customer=customer)
    line = invoice.lines.get()
    assert (grant.effective_at, grant.expires_at) == (on(term[0]), on(term[1]))
    assert (grant.reason_code, line.kind) == ("commitment", LineKind.COMMITMENT)
    assert line.description == "Commitment of 1000 credits, paid ahead, until 2026-05-31"


@pytest.mark.parametrize(
    ("starts", "ends", "within_a_year"),
    [
        ("2026-01-01", "2028-02-01", 12_000),
        ("2026-08-02", "2027-08-02", 12_033),  # Not before its term: 183 of 365 days.
    ],
)
def test_what_is_not_paid_yet_is_a_promise_of_its_term(
    shop: Shop, starts: str, ends: str, within_a_year: int
) -> None:
    customer = shop.subscriber("2026-01-01")
    shop.commitment(customer, "1000", 24_000, (starts, ends), "2026-01-01")
    recognise(customer, "2026-02-01")

    [row] = REPORTS["rpo"].build(ensure_period(date(2026, 1, 1))).rows

    # From February 2026 on there are 730 days, 365 of them within a year.
    assert (row.labels["stream"], row.figures["up_to_12_months"].amount_minor) == (
        "Prepaid commitments", within_a_year,
    )  # fmt: skip


def test_a_term_is_ahead_and_a_key_sells_once(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")

    def sell(start: str, end: str, at: str = "2026-01-01") -> Invoice:
        return sell_commitment(
            customer=customer, pricing_unit=shop.unit, amount=Decimal(10), price_minor=100,
            start_on=date.fromisoformat(start), end_on=date.fromisoformat(end), key="one",
            by=shop.maker, at=on(at),
        )  # fmt: skip

    for start, end in (("2026-01-01", "2026-01-01"), ("2025-01-01", "2026-01-01"),
                       ("2026-01-01", "2037-01-01")):  # fmt: skip
        with pytest.raises(Invalid):
            sell(start, end)
    sold = sell(*YEAR)
    assert sell(*YEAR, at="2027-05-01") == sold
    with pytest.raises(IdempotencyConflict, match="another term"):
        sell("2026-01-01", "2026-02-01")


def test_an_end_on_the_account_of_packs_is_found(shop: Shop) -> None:
    customer = _committed(shop, "1000", 10_000)
    recognise(customer, "2026-01-02")
    promise = PerformanceObligation.objects.get(customer=customer, kind="commitment")
    assert list(misplaced_ends()) == []

    post_entries(
        drafts=[
            EntryDraft(
                date(2026, 1, 3), EntryKind.CREDITS_EXPIRED, "by hand", customer.pk,
                credits_expired(5, about(promise)), "test:by_hand",
            )
        ],
        by=shop.maker,
        at=on("2026-01-03"),
    )  # fmt: skip

    [found] = misplaced_ends()
    assert (found.expected, found.found) == ("4040 alone, for what ended", "-5 on 4030")


def test_finance_sells_one_on_the_customers_page(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    client = client_of(person("finance_maker"))
    url = action_url(customer, "sell_committed")

    send(
        client, url, pricing_unit=shop.unit.pk, amount="1000", price="100.00",
        start_on="2026-12-01", end_on="2027-12-01",
    )  # fmt: skip

    line = Invoice.objects.get(source_key__startswith="commitment:").lines.get()
    assert (line.kind, line.amount_minor) == (LineKind.COMMITMENT, 10_000)


YEARLY = Item("commitment", "yearly", "Yearly", 12_000, credits=Decimal(1_000), periods=3)


def _committed_lines(customer: Customer) -> list[tuple[str, str, int]]:
    lines = InvoiceLine.objects.filter(invoice__customer=customer, kind=LineKind.COMMITMENT)
    return [
        (f"{line.service_start_at:%m-%d}", f"{line.service_end_at:%m-%d}", line.amount_minor)
        for line in lines.order_by("pk")
    ]


@pytest.mark.usefixtures("books_hold")
def test_a_commitment_of_a_plan_is_sold_with_it_and_again_when_its_term_is_over(
    shop: Shop,
) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100, overage="1.00", items=(YEARLY,))
    for month in ("02", "03", "04", "05"):
        shop.renew(f"2026-{month}-01")

    assert _committed_lines(customer) == [("01-01", "04-01", 12_000), ("04-01", "07-01", 12_000)]
    first = Invoice.objects.filter(customer=customer).earliest("pk")
    assert [line.kind for line in first.lines.order_by("position")] == ["recurring", "commitment"]
    assert first.lines.get(kind="commitment").description == (
        "Yearly: commitment of 1000 credits, paid ahead, until 2026-03-31"
    )
    recognise(customer, "2026-05-01")


@pytest.mark.usefixtures("books_hold")
def test_what_a_commitment_of_a_plan_leaves_unused_is_its_shortfall(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="1.00", items=(YEARLY,))
    shop.pay(Invoice.objects.get(customer=customer), "2026-01-02")
    shop.use(customer, "400", "2026-01-05T09")
    expire_due_grants(by=worker_user(), at=on("2026-04-01T01"))

    recognise(customer, "2026-04-02")

    # 120.00 for 1,000 credits, of which 400 were used.
    assert balances(customer) == {"1000": 12_000, "4010": -4_800, "4040": -7_200}


def test_a_term_begins_with_a_whole_interval_and_outlives_its_plan(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, "2026-01-01", fee=3_100, items=(YEARLY,))
    other = Item("commitment", "other", "Other", 500, credits=Decimal(10), periods=1)
    change_subscription(
        subscription=subscription,
        asked=Asked(
            ChangeKind.PLAN, Moment.NOW, "upgrade", "up",
            shop.plan_version(fee=6_200, items=(YEARLY, other)),
        ),
        by=shop.maker, at=on("2026-01-16"),
    )  # fmt: skip
    assert _committed_lines(customer) == [("01-01", "04-01", 12_000)]  # Within an interval: none.

    shop.renew("2026-02-01")

    assert _committed_lines(customer) == [
        ("01-01", "04-01", 12_000), ("02-01", "03-01", 500)
    ]  # fmt: skip
    assert not CreditNote.objects.filter(lines__invoice_line__kind=LineKind.COMMITMENT).exists()


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (Item("commitment", "c", "C", 1), "more than 0"),
        (Item("commitment", "c", "C", 0, credits=Decimal(1)), "has a price"),
        (Item("commitment", "c", "C", 1, credits=Decimal(1), periods=0), "at least one period"),
        (Item("commitment", "c", "C", 10**14, credits=Decimal("1e-12")), "one credit"),
        (Item("commit", "c", "C", 1, credits=Decimal(1), kinds=("overage",)), "hold credits"),
    ],
)
def test_a_commitment_has_a_price_credits_and_a_term(item: Item, why: str) -> None:
    with pytest.raises(BadItem, match=why):
        refuse_unsound([item])


@pytest.mark.usefixtures("books_hold")
def test_breakage_of_commitments_is_earned_with_use_where_an_estimate_says_so(shop: Shop) -> None:
    terms = BreakageTerms(
        code="commitments", currency="USD", sold_from=date(2026, 1, 1), sold_until=None,
        method=Method.PROPORTIONAL, rate=Decimal("0.10"), evidence="x", of_commitments=True,
    )  # fmt: skip
    words = Proposal("x", "wanted", "done", "test", on("2026-01-01"))
    estimate = propose_breakage(terms=terms, proposal=words, by=shop.maker, at=on("2026-01-01"))
    approve(change=estimate.policy_change, by=shop.approver, reason="so", at=on("2026-01-01"))
    customer = _committed(shop, "1000", 10_000)
    shop.grant(customer, "1000", "2026-01-01", price=10_000)  # A pack: the estimate is none of it.
    shop.use(customer, "300", "2026-01-15T10")

    close_month("2026-01-01", "2026-02-01")

    # The commitment ends first, and so is used first: 10.00 x 30.00 / (30.00 + 60.00) = 3.33.
    assert balances()["2190"] == 333
    assert balances()["4040"] == -333
    assert "4030" not in balances()


def test_what_a_term_leaves_is_never_unclaimed_property(shop: Shop) -> None:
    terms = BreakageTerms(
        code="c", currency="USD", sold_from=date(2026, 1, 1), sold_until=None,
        method=Method.ESCHEAT, rate=Decimal(0), evidence="x", of_commitments=True,
    )  # fmt: skip
    words = Proposal("x", "wanted", "done", "test", on("2026-01-01"))
    with pytest.raises(Invalid, match="shortfall"):
        propose_breakage(terms=terms, proposal=words, by=shop.maker, at=on("2026-01-01"))
