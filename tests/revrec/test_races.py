"""Two workers at once: each fact is accounted for once."""

import threading
import time

import pytest
from django.db import DatabaseError, connection

from billing_project.kernel import outbox
from metering.models import Customer
from revrec.models import JournalEntry
from revrec.selectors.tieouts import untied_revenue
from revrec.services import recognise as recognise_module
from revrec.services.drafts import Run
from revrec.services.overage import accrue_overage
from tests.revrec.builders import Shop, balances, recognise

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait between reading the facts and leaving: the place where two workers would meet."""

    def slow(run: Run) -> int:
        posted = accrue_overage(run)
        time.sleep(0.3)
        return posted

    monkeypatch.setattr(recognise_module, "accrue_overage", slow)


def _both(customer: Customer) -> list[Exception]:
    failures: list[Exception] = []

    def work() -> None:
        try:
            recognise(customer, "2026-01-05")
        except DatabaseError as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


@pytest.mark.usefixtures("gap")
def test_two_workers_on_one_customer_post_once(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    shop.use(customer, "500", "2026-01-03T10")

    failures = _both(customer)

    assert failures == []
    assert JournalEntry.objects.count() == 1 + 1 + 4
    assert balances(customer) == {
        "1100": 3_100, "1200": 500, "2120": -2_700, "4000": -400, "4020": -500
    }  # fmt: skip


@pytest.mark.usefixtures("gap")
def test_without_the_locks_a_use_would_count_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary: the gap lets both in, and the check of the books sees what it did."""
    customer = shop.subscriber("2026-01-01")
    recognise(customer, "2026-01-02")  # The first row of its mark would keep one waiting.
    shop.use(customer, "500", "2026-01-03T10")
    monkeypatch.setattr(Customer.objects, "select_for_update", lambda **_: Customer.objects.all())
    monkeypatch.setattr(outbox, "take", lambda topic, customer_id: 0)

    failures = _both(customer)

    [mismatch] = untied_revenue()
    assert (mismatch.expected, mismatch.found, failures) == ("1000", "500", [])


def test_two_customers_at_once_share_one_chain(shop: Shop) -> None:
    customers = [shop.subscriber("2026-01-01", fee=3_100) for _ in range(4)]

    def work(customer: Customer) -> None:
        recognise(customer, "2026-01-31")
        connection.close()

    threads = [threading.Thread(target=work, args=(customer,)) for customer in customers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    positions = JournalEntry.objects.order_by("chain_position").values_list(
        "chain_position", flat=True
    )
    assert list(positions) == list(range(1, 4 * 31 + 1))
