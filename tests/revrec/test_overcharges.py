"""Overage that is used, invoiced, cancelled and credited in any order: revenue is what was used."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_project.kernel.books import run_checks
from credits.models import CreditGrant
from credits.services.clawing import claw_back
from credits.services.grants import void_grant
from invoicing.models import Invoice
from invoicing.selectors import overcharged_periods
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.note_voids import void_credit_note
from metering.models import Customer
from metering.services.adjust import cancel_event
from revrec.models import JournalEntry, PerformanceObligation
from tests.revrec.builders import Shop, balances, on, recognise

pytestmark = pytest.mark.django_db


def _cancel(shop: Shop, customer: Customer, identifier: str, at: str) -> None:
    cancel_event(customer=customer, identifier=identifier, reason="x", by=shop.maker, at=on(at))
    shop.rate(customer, on(at))


@pytest.mark.usefixtures("books_hold")
def test_cancelled_then_credited_overage_leaves_nothing(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    used = shop.use(customer, "1000", "2026-01-10T09")
    shop.renew("2026-02-03")
    invoice = Invoice.objects.get()
    shop.pay(invoice, "2026-02-04")
    _cancel(shop, customer, used, "2026-02-05")
    recognise(customer, "2026-02-05T01")
    assert balances(customer) == {"1000": 1_000, "1200": -1_000}

    shop.credit(invoice, 1_000, "billing_error", "2026-02-06")
    recognise(customer, "2026-02-06T01")

    assert balances(customer) == {"1000": 1_000, "2200": -1_000}  # 10.00 are owed back.


@pytest.mark.usefixtures("books_hold")
@pytest.mark.parametrize("in_steps", [True, False])
def test_a_concession_goes_with_the_usage_it_was_about(shop: Shop, in_steps: bool) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    used = shop.use(customer, "1000", "2026-01-10T09")
    shop.renew("2026-02-03")
    invoice = Invoice.objects.get()
    shop.credit(invoice, 400, "goodwill", "2026-02-04")
    if in_steps:
        recognise(customer, "2026-02-04T01")
        assert balances(customer) == {"1100": 600, "4020": -1_000, "4900": 400}
    _cancel(shop, customer, used, "2026-02-05")
    shop.credit(invoice, 600, "billing_error", "2026-02-06")
    recognise(customer, "2026-02-06T01")

    assert balances(customer) == {}  # Nothing used, nothing claimed, nothing earned.

    shop.use(customer, "1000", "2026-01-20T09")
    shop.renew("2026-02-09")
    shop.renew("2026-02-11")
    recognise(customer, "2026-02-11T01")
    # 10.00 of use less the 4.00 conceded, however long ago.
    assert balances(customer) == {"1100": 600, "4020": -1_000, "4900": 400}


@pytest.mark.usefixtures("books_hold")
def test_used_credits_keep_their_basis_after_a_note(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    invoice = shop.pack(customer, "10000", 9_000, "2026-01-02")
    shop.pay(invoice, "2026-01-02")
    used = shop.use(customer, "5000", "2026-01-10T09")
    recognise(customer, "2026-01-11")
    grant = CreditGrant.objects.get(customer=customer)
    void_grant(grant=grant, reason_code="returned", by=shop.maker, at=on("2026-01-12"))
    shop.credit(invoice, 4_500, "cancel_future", "2026-01-12T01")
    recognise(customer, "2026-01-13")
    # 5,000 credits at 0.009 were used; the other half was paid, ended and is owed back.
    assert balances(customer) == {"1000": 9_000, "2200": -4_500, "4010": -4_500}

    _cancel(shop, customer, used, "2026-01-14")
    recognise(customer, "2026-01-15")

    obligation = PerformanceObligation.objects.get(grant=grant)
    assert (obligation.price_minor, obligation.recognised_minor) == (4_500, 4_500)


@dataclass
class Story:
    """One customer's billing period, its events in random order, a day each."""

    shop: Shop
    customer: Customer
    day: int = 3
    uses: list[str] = field(default_factory=list)
    used: Decimal = Decimal(0)

    def at(self, hour: int = 0) -> str:
        """Return an instant of the current day, in February and March."""
        month, day = divmod(self.day, 28)
        return f"2026-{2 + month:02}-{1 + day:02}T{hour:02}"

    def use(self, amount: int) -> None:
        self.uses.append(self.shop.use(self.customer, str(amount), "2026-01-10T09"))

    def cancel(self, index: int) -> None:
        if self.uses:
            _cancel(self.shop, self.customer, self.uses.pop(index % len(self.uses)), self.at(1))

    def invoice(self, _: int) -> None:
        self.shop.renew(self.at(2))
        self.day += 2  # Over the grace.
        self.shop.renew(self.at(2))

    def note(self, amount: int) -> None:
        for invoice in Invoice.objects.exclude(status="draft").order_by("id"):
            left = invoice.total_minor - invoice.credited_minor
            if left:
                self.shop.credit(invoice, min(amount, left), "billing_error", self.at(3))
                return

    def recognise(self, _: int) -> None:
        recognise(self.customer, self.at(4))


_steps = st.lists(
    st.tuples(
        st.sampled_from(["use", "use", "cancel", "invoice", "invoice", "note", "recognise"]),
        st.integers(1, 700),
    ),
    min_size=6,
    max_size=12,
)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_steps)
def test_in_any_order_the_books_hold(shop: Shop, steps: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        story = Story(shop, shop.subscriber("2026-01-01", overage="0.013"))
        for verb, argument in steps:
            getattr(story, verb)(argument)
            story.day += 1
        story.invoice(0)
        _credit_overcharges(story)
        recognise(story.customer, story.at(5))
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

        sums = balances(story.customer)
        net = -sums.get("4020", 0) - sums.get("4900", 0)
        claimed = sum(
            invoice.total_minor - invoice.credited_minor for invoice in Invoice.objects.all()
        )
        assert "1200" not in sums  # All that was earned is claimed, and nothing else.
        assert net == claimed >= 0
        found = [finding for result in run_checks() for finding in result.findings]
        assert found == []
        transaction.set_rollback(True)


def _credit_overcharges(story: Story) -> None:
    """Take back what is claimed too much, from the invoices that have something left."""
    while states := overcharged_periods(story.customer):
        story.note(states[0].overcharged_minor)


@pytest.mark.usefixtures("books_hold")
def test_credits_that_a_note_gives_back_are_promised_again(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    shop.pay(shop.pack(customer, "1000", 9_000, "2026-01-02"), "2026-01-02")
    shop.use(customer, "1200", "2026-01-10T09")  # 1,000 of the pack, 200 beyond.
    shop.renew("2026-02-03")
    invoice = Invoice.objects.get(lines__kind="overage")
    recognise(customer, "2026-02-03T01")
    assert balances(customer) == {"1000": 9_000, "1100": 200, "4010": -9_000, "4020": -200}

    note = issue_credit_note(
        invoice=invoice, lines=[], reason="service_failure", memo="", key="back", by=shop.maker,
        restored=[(invoice.lines.get(kind="credits_used"), Decimal(300))], at=on("2026-02-06"),
    )  # fmt: skip
    recognise(customer, "2026-02-06T01")

    # 300 of 1,000 credits at 90.00 are 27.00, on the note's day.
    assert balances(customer) == {
        "1000": 9_000, "1100": 200, "2100": -2_700, "4010": -6_300, "4020": -200,
    }  # fmt: skip
    entry = JournalEntry.objects.latest("id")
    assert (entry.kind, str(entry.effective_on)) == ("credits_used", "2026-02-06")

    void_credit_note(credit_note=note, reason="a mistake", by=shop.maker, at=on("2026-02-07"))
    recognise(customer, "2026-02-07T01")
    assert balances(customer)["4010"] == -9_000


def test_a_note_on_credits_of_a_purchase_that_was_taken_back_posts_on_its_own_day(
    shop: Shop, books_hold: None
) -> None:
    """All 1,000 were used in January; 300 come back in March, and are void from March on."""
    customer = shop.subscriber("2026-01-01", overage="0.01")
    shop.pay(shop.pack(customer, "1000", 9_000, "2026-01-02"), "2026-01-02")
    shop.use(customer, "1200", "2026-01-10T09")
    shop.renew("2026-02-03")
    invoice = Invoice.objects.get(lines__kind="overage")
    claw_back(
        grant=CreditGrant.objects.get(category="paid"), reason="refund", reference="re_1",
        by=shop.maker, at=on("2026-02-20"),
    )  # fmt: skip
    recognise(customer, "2026-02-20T01")
    issue_credit_note(
        invoice=invoice, lines=[], reason="service_failure", memo="", key="back", by=shop.maker,
        restored=[(invoice.lines.get(kind="credits_used"), Decimal(300))], at=on("2026-03-06"),
    )  # fmt: skip

    recognise(customer, "2026-03-06T01")

    assert balances(customer, until=date(2026, 3, 1))["4010"] == -9_000
    found = balances(customer)
    assert (found["4010"], found["4030"]) == (-6_300, -2_700)
