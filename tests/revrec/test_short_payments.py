"""A payment that falls short by no more than is tolerated pays its invoice (rule 32)."""

from datetime import date

import pytest
from django.db import DatabaseError, transaction

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Invalid
from billing_project.kernel.users import worker_user
from credits.models import CreditGrant
from invoicing.models import Invoice, Payment, PaymentTolerance, ShortPayment
from invoicing.services.tolerances import propose_payment_tolerance
from metering.models import Customer
from revrec.posting import About, Account, EntryKind, pair
from revrec.selectors.tables import REPORTS
from revrec.services.journal import EntryDraft, post_entries
from revrec.services.months import ensure_period
from tests.revrec.builders import LONG_AGO, Shop, balances, entries, on, recognise, signed

pytestmark = pytest.mark.django_db
DAY = "2026-01-02"


def _tolerate(
    shop: Shop, most: int, currency: str = "USD", is_approved: bool = True
) -> PaymentTolerance:
    row = propose_payment_tolerance(
        currency=currency, most_minor=most, by=shop.maker, at=LONG_AGO,
        proposal=Proposal("tolerance", "wanted", "done", "test", LONG_AGO),
    )  # fmt: skip
    if is_approved:
        approve(change=row.policy_change, by=shop.approver, reason="agreed", at=LONG_AGO)
    return row


def _billed(shop: Shop) -> tuple[Customer, Invoice]:
    customer = shop.subscriber("2026-01-01")
    return customer, shop.pack(customer, "1000", 10_000, DAY)


@pytest.mark.usefixtures("books_hold")
def test_what_a_payment_falls_short_by_is_rounding_and_the_credits_come(shop: Shop) -> None:
    _tolerate(shop, 5)
    customer, pack = _billed(shop)

    shop.pay(pack, DAY, 9_995)
    recognise(customer, "2026-01-03")

    pack.refresh_from_db()
    assert (pack.status, pack.open_minor, pack.paid_minor) == ("paid", 0, 9_995)
    assert CreditGrant.objects.get(customer=customer).price_minor == 10_000
    [entry] = entries(customer, "short_payment_accepted")
    assert signed(entry) == {"7900": 5, "1100": -5}
    assert balances(customer) == {"1000": 9_995, "2100": -10_000, "7900": 5}
    assert REPORTS["receivable_ageing"].build(ensure_period(date(2026, 1, 1))).rows == []
    assert recognise(customer, "2026-01-03") == 0


@pytest.mark.usefixtures("books_hold")
@pytest.mark.parametrize(
    ("most", "currency", "is_approved", "paid"),
    [
        (5, "USD", True, 9_994),  # One more than is tolerated.
        (5, "EUR", True, 9_995),  # Another currency's.
        (5, "USD", False, 9_995),  # Nobody approved it.
        (0, "USD", True, 9_999),
    ],
)
def test_what_is_not_tolerated_stays_open(
    shop: Shop, most: int, currency: str, is_approved: bool, paid: int
) -> None:
    _tolerate(shop, most, currency, is_approved)
    customer, pack = _billed(shop)

    shop.pay(pack, DAY, paid)
    recognise(customer, "2026-01-03")

    pack.refresh_from_db()
    assert (pack.status, pack.open_minor) == ("finalized", 10_000 - paid)
    assert not ShortPayment.objects.exists()
    assert "7900" not in balances(customer)


def test_the_newest_version_counts(shop: Shop) -> None:
    _tolerate(shop, 5)
    _tolerate(shop, 0)
    _, pack = _billed(shop)

    shop.pay(pack, DAY, 9_999)

    assert not ShortPayment.objects.exists()


@pytest.mark.parametrize(("currency", "most"), [("EURO", 1), ("USD", -1), ("USD", 10_001)])
def test_a_tolerance_is_a_difference_of_rounding(shop: Shop, currency: str, most: int) -> None:
    with pytest.raises(Invalid):
        _tolerate(shop, most, currency)


def test_the_database_takes_only_all_that_is_open_within_the_tolerance(shop: Shop) -> None:
    _, pack = _billed(shop)
    shop.pay(pack, DAY, 9_990)
    approved, waiting = _tolerate(shop, 5), _tolerate(shop, 50, is_approved=False)
    euros = _tolerate(shop, 50, "EUR")
    payment = Payment.objects.get(invoice=pack)
    for tolerance, minor in ((approved, 10), (approved, 5), (waiting, 10), (euros, 10)):
        with pytest.raises(DatabaseError), transaction.atomic():
            ShortPayment.objects.create(
                invoice=pack, payment=payment, tolerance=tolerance, amount_minor=minor,
                currency="USD", accepted_at=on(DAY),
            )  # fmt: skip


def test_rounding_that_no_payment_left_is_found(shop: Shop) -> None:
    _tolerate(shop, 5)
    customer, pack = _billed(shop)
    shop.pay(pack, DAY, 9_997)
    recognise(customer, "2026-01-03")
    lines = pair(Account.ROUNDING, Account.BREAKAGE_REVENUE, 100, About("USD"))
    draft = EntryDraft(
        on(DAY).date(), EntryKind.SHORT_PAYMENT_ACCEPTED, "wrong", customer.pk, lines, "test:1"
    )
    post_entries(drafts=[draft], by=worker_user(), at=on("2026-01-04"))

    found = {result.name: len(result.findings) for result in run_checks() if result.findings}

    assert found["revrec.short_payments_tie"] == 1
