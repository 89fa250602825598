"""A fact that moves money cannot be hidden behind a source row without an entry."""

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from django.db.models import Max

from billing_project.kernel.books import run_checks
from billing_project.kernel.users import worker_user
from credits.models import CreditGrant, LedgerTransaction, RatedUsage
from credits.services.grants import expire_grant, void_grant
from invoicing.models import CreditNote, Invoice, Payment
from metering.models import Customer
from revrec.checks import silent_facts_move_nothing
from revrec.models import EntrySource, RevenueScheduleLine
from revrec.sources import ROLES, SourceType
from tests.revrec.builders import Shop, on, recognise

pytestmark = pytest.mark.django_db
S = SourceType


def hide(source_type: SourceType, *ids: int) -> None:
    """Do what a person with SQL could do: mark facts as moving nothing before they are posted."""
    EntrySource.objects.bulk_create(
        EntrySource(source_type=source_type.value, source_id=pk, role=ROLES[source_type])
        for pk in ids
    )


def subjects() -> list[str]:
    return [finding.subject for finding in silent_facts_move_nothing()]


def failing() -> Iterator[str]:
    for result in run_checks():
        if result.findings:
            yield result.name.removeprefix("revrec.")


@pytest.fixture
def customer(shop: Shop) -> Customer:
    return shop.subscriber("2026-01-01", fee=3_100, overage="0.01")


def test_what_moves_nothing_is_no_finding(shop: Shop, customer: Customer) -> None:
    shop.grant(customer, "100", "2026-01-01", expires="2026-01-20")  # Promotional: costs nothing.
    shop.grant(customer, "1000", "2026-01-01", price=1)
    shop.use(customer, "110", "2026-01-05T10")  # 10 paid credits: a hundredth of a cent.
    grant = shop.grant(customer, "10", "2026-01-06", price=500, expires="2026-02-01")
    shop.use(customer, "3", "2026-01-07T10")
    expire_grant(grant=grant, reason_code="test", by=worker_user(), at=on("2026-01-09"))
    pack = shop.pack(customer, "10", 1_000, "2026-01-08")
    shop.pay(pack, "2026-01-09")
    sold = CreditGrant.objects.get(source_key__endswith=":pack")
    void_grant(grant=sold, reason_code="test", by=worker_user(), at=on("2026-01-09T12"))
    shop.credit(pack, 100, "goodwill", "2026-01-10")
    shop.use(customer, "5000", "2026-01-11T10")
    recognise(customer, "2026-01-12")

    assert EntrySource.objects.filter(entry=None).exists()
    assert subjects() == []
    assert list(failing()) == []


def test_a_hidden_claim_is_found(shop: Shop, customer: Customer) -> None:
    invoice = Invoice.objects.get(customer=customer)
    line = invoice.lines.get()
    shop.pay(invoice, "2026-01-02")
    payment = Payment.objects.get(invoice=invoice)
    hide(S.INVOICE_LINE, line.pk)
    hide(S.PAYMENT, payment.pk)

    assert subjects() == [f"invoice_line:{line.pk}", f"payment:{payment.pk}"]


def test_a_hidden_note_and_a_hidden_fee_day_are_found(shop: Shop, customer: Customer) -> None:
    invoice = Invoice.objects.get(customer=customer)
    recognise(customer, "2026-01-01")
    shop.credit(invoice, 310, "goodwill", "2026-01-02")
    note, day = CreditNote.objects.get(), RevenueScheduleLine.objects.earliest("service_on")
    hide(S.CREDIT_NOTE, note.pk)
    hide(S.SCHEDULE_LINE, day.pk)

    assert subjects() == [f"credit_note:{note.pk}", f"revenue_schedule_line:{day.pk}"]


def _sold(shop: Shop, customer: Customer) -> tuple[SourceType, int]:
    grant = shop.grant(customer, "10", "2026-01-06", price=500)
    return S.LEDGER_TRANSACTION, LedgerTransaction.objects.get(grant=grant).pk


def _drawn(shop: Shop, customer: Customer) -> tuple[SourceType, int]:
    shop.grant(customer, "10", "2026-01-06", price=500)
    shop.use(customer, "3", "2026-01-07T10")
    return S.LEDGER_TRANSACTION, LedgerTransaction.objects.get(credits=-3).pk


def _expired(shop: Shop, customer: Customer) -> tuple[SourceType, int]:
    grant = shop.grant(customer, "10", "2026-01-06", price=500)
    shop.use(customer, "3", "2026-01-07T10")
    ended = expire_grant(grant=grant, reason_code="test", by=worker_user(), at=on("2026-01-09"))
    return S.LEDGER_TRANSACTION, ended.pk


def _beyond_the_grants(shop: Shop, customer: Customer) -> tuple[SourceType, int]:
    shop.use(customer, "300", "2026-01-06T10")
    return S.RATED_USAGE, RatedUsage.objects.get(overage=300).pk


@pytest.mark.parametrize(
    ("act", "seen_by"),
    [
        (_sold, "silent_facts_move_nothing"),
        (_drawn, "grants_earn_their_cost"),
        (_expired, "silent_facts_move_nothing"),
        (_beyond_the_grants, "silent_facts_move_nothing"),
    ],
)
def test_hidden_revenue_is_found_once_the_books_are_up_to_date(
    shop: Shop,
    customer: Customer,
    act: Callable[[Shop, Customer], tuple[SourceType, int]],
    seen_by: str,
) -> None:
    source_type, pk = act(shop, customer)
    hide(source_type, pk)
    recognise(customer, "2026-01-12")

    assert seen_by in set(failing())


def test_overage_hidden_among_other_overage_is_found(shop: Shop, customer: Customer) -> None:
    shop.use(customer, "300", "2026-01-06T10")
    recognise(customer, "2026-01-07")
    shop.use(customer, "200", "2026-01-08T10")
    newest = RatedUsage.objects.aggregate(pk=Max("pk"))["pk"]
    assert RatedUsage.objects.get(pk=newest).overage == Decimal(200)
    hide(S.RATED_USAGE, newest)
    recognise(customer, "2026-01-09")

    assert "unbilled_ties" in set(failing())
