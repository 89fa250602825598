"""What the books say about a customer's months."""

from datetime import date

import pytest

from credits.models import CreditGrant
from credits.services.grants import expire_grant
from invoicing.models import Subscription
from invoicing.services.subscriptions import end_subscription
from metering.models import Customer
from revrec.models import AccountingPeriod, JournalEntry
from revrec.selectors.journal import entries_of_source, journal_entries, sources_of_entry
from revrec.selectors.reports import (
    DeferredRollforward,
    RevenueTotals,
    deferred_rollforward,
    revenue_totals,
    trial_balance,
)
from tests.revrec.builders import Shop, close_month, entries, on, recognise

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]


def _close(day: str, at: str) -> AccountingPeriod:
    return close_month(day, at)


def test_a_trial_balance_shows_opening_movements_and_closing(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    recognise(customer, "2026-01-11")

    rows = {
        row.account: (row.opening_minor, row.debit_minor, row.credit_minor, row.closing_minor)
        for row in trial_balance(date(2026, 1, 3), date(2026, 1, 8))
    }

    # Two days before, five days within, three days after.
    assert rows == {
        "1100": (3_100, 0, 0, 3_100),
        "2120": (-2_900, 500, 0, -2_400),
        "4000": (-200, 0, 500, -700),
    }


def test_a_trial_balance_without_bounds_is_all_movement(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    recognise(customer, "2026-01-01")

    rows = [(row.account, row.opening_minor, row.closing_minor) for row in trial_balance()]

    assert rows == [("1100", 0, 3_100), ("2120", 0, -3_100)]


def test_currencies_stand_side_by_side(shop: Shop) -> None:
    for currency in ("USD", "JPY"):
        recognise(shop.subscriber("2026-01-01", currency=currency, fee=3_100), "2026-01-02")

    assert revenue_totals() == [
        RevenueTotals("JPY", recognised_minor=100, deferred_minor=3_000, unbilled_minor=0),
        RevenueTotals("USD", recognised_minor=100, deferred_minor=3_000, unbilled_minor=0),
    ]


def test_revenue_totals_are_as_of_the_end_of_a_day(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100, overage="0.01")
    shop.use(customer, "700", "2026-01-02T10")
    recognise(customer, "2026-01-11")

    assert revenue_totals(date(2026, 1, 2)) == [
        RevenueTotals("USD", recognised_minor=900, deferred_minor=2_900, unbilled_minor=700)
    ]


def test_entries_and_facts_find_each_other(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    shop.use(customer, "700", "2026-01-02T10")
    recognise(customer, "2026-01-03")
    [entry] = entries(customer, "overage_used")

    [source] = sources_of_entry(entry)

    assert source.source_type == "rated_usage"
    assert list(entries_of_source("rated_usage", source.source_id)) == [entry]


def test_entries_are_listed_by_customer_month_and_account(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    other = shop.subscriber("2026-01-31", fee=3_100)
    for each in (customer, other):
        recognise(each, "2026-02-02")

    def count(**filters: object) -> int:
        return journal_entries(**filters).count()  # type: ignore[arg-type]

    assert count() == 1 + 31 + 1 + 2
    assert count(customer=customer.external_id) == 32
    assert count(period_start_on=date(2026, 2, 1)) == 1
    assert count(account="1100") == 2
    assert count(customer=other.external_id, account="4000") == 2


def _start(shop: Shop) -> Customer:
    """Sell 1,000 credits for 100.00, a month for 49.00, and give 100 credits away."""
    customer = shop.subscriber("2026-01-01", fee=4_900, overage="0.012")
    end_subscription(
        subscription=Subscription.objects.get(customer=customer),
        ends_at=on("2026-02-01"),
        reason="moves to pay as you go",
        by=shop.maker,
        at=on("2026-01-02"),
    )
    shop.grant(customer, "100", "2026-01-01")
    shop.pay(shop.pack(customer, "1000", 10_000, "2026-01-01"), "2026-01-01")
    return customer


def _rollforward(period: AccountingPeriod) -> DeferredRollforward:
    [row] = deferred_rollforward(period)
    return row


def test_the_worked_close_of_three_months(shop: Shop) -> None:
    """Follow the worked close of the accounting reference, with breakage on expiry only.

    Its second month also learns of 50 credits used in the first, which is closed by then.
    """
    customer = _start(shop)
    shop.use(customer, "400", "2026-01-15T10")  # 100 free, 300 paid: 30.00.
    january = _close("2026-01-01", "2026-02-01")
    shop.subscribe(customer, "2026-02-01", overage="0.012")
    shop.use(customer, "300", "2026-02-10T10")  # 30.00.
    shop.use(customer, "50", "2026-01-31T10")  # 5.00, known late.
    february = _close("2026-02-01", "2026-03-01")
    shop.renew("2026-03-01")
    paid = CreditGrant.objects.get(customer=customer, price_minor=10_000)
    expire_grant(grant=paid, reason_code="agreed", by=shop.maker, at=on("2026-03-05"))  # 350 left.
    shop.use(customer, "20", "2026-03-10T10")  # Overage: 20 * 0.012 = 0.24.
    march = _close("2026-03-01", "2026-04-01")

    # In order: opening, billings, fees, usage, breakage, credit notes, other, closing.
    assert _rollforward(january) == DeferredRollforward(
        "USD", 0, 14_900, 4_900, 3_000, 0, 0, 0, 7_000
    )
    assert _rollforward(february) == DeferredRollforward("USD", 7_000, 0, 0, 3_500, 0, 0, 0, 3_500)
    assert _rollforward(march) == DeferredRollforward("USD", 3_500, 0, 0, 0, 3_500, 0, 0, 0)
    late = JournalEntry.objects.get(
        kind="credits_used", postings__service_start_on=date(2026, 1, 31), postings__account="4010"
    )
    assert late.effective_on == date(2026, 2, 1)
    assert revenue_totals(date(2026, 3, 31)) == [
        # 49.00 + 65.00 used + 35.00 expired + 0.24 overage.
        RevenueTotals("USD", recognised_minor=14_924, deferred_minor=0, unbilled_minor=24)
    ]
