"""The shortfall of a commit is earned with its term and billed afterwards (rule 27)."""

from datetime import date

import pytest

from invoicing.items import Item
from invoicing.models import CreditNote, Invoice
from revrec.models import PerformanceObligation
from tests.revrec.builders import Shop, balances, entries, on, recognise

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]

COMMIT = Item("commit", "minimum", "Minimum", 5_000, kinds=("overage",))


def test_a_month_earns_the_larger_of_commit_and_usage(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", items=(COMMIT,))
    shop.use(customer, "2000", "2026-01-10T10")  # 2,000 x 0.01 = 20.00

    shop.renew("2026-02-01")
    shop.renew("2026-02-02T01")  # The grace is over.
    recognise(customer, "2026-02-02T02")

    assert balances(customer, until=date(2026, 2, 1)) == {
        "1200": 2_000, "1210": 3_000, "4020": -2_000, "4040": -3_000,
    }  # fmt: skip
    assert balances(customer) == {"1100": 5_000, "4020": -2_000, "4040": -3_000}
    [earned] = entries(customer, "shortfall_earned")
    assert earned.effective_on == date(2026, 1, 31)
    [invoiced] = entries(customer, "invoice_finalized")
    assert sorted(posting.amount_minor for posting in invoiced.postings.all()) == [
        -3_000, -2_000, 2_000, 3_000,
    ]  # fmt: skip


def test_running_again_posts_nothing(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", items=(COMMIT,))
    shop.renew("2026-02-01")
    shop.renew("2026-02-02T01")
    recognise(customer, "2026-02-02T02")

    assert recognise(customer, "2026-02-02T02") == 0
    promise = PerformanceObligation.objects.get(kind="shortfall")
    assert (promise.price_minor, promise.recognised_minor) == (5_000, 5_000)


def test_a_shortfall_that_usage_made_up_for_leaves_revenue_at_the_commit(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", items=(COMMIT,))
    shop.renew("2026-02-01")
    shop.renew("2026-02-02T01")
    recognise(customer, "2026-02-02T02")
    assert Invoice.objects.get(subscription__customer=customer).total_minor == 5_000

    shop.use(customer, "2000", "2026-01-10T10")
    shop.rate(customer, on("2026-02-03"))
    shop.renew("2026-02-03")
    shop.renew("2026-02-04T01")
    recognise(customer, "2026-02-04T02")

    assert CreditNote.objects.get().total_minor == 2_000
    revenue = {code: -sum_ for code, sum_ in balances(customer).items() if code[0] == "4"}
    assert revenue == {"4020": 2_000, "4040": 5_000, "4900": -2_000}
    assert balances(customer)["1100"] == 5_000
