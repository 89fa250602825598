"""Two workers at once: each fact is accounted for once."""

import threading
import time
from datetime import date

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import outbox
from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.errors import Conflict
from billing_project.kernel.users import worker_user
from invoicing.models import MAIN_ENTITY, CustomerEntity, LegalEntity
from invoicing.services.entities import EntityTerms, assign_entity, propose_legal_entity
from metering.models import Customer
from revrec.models import JournalEntry
from revrec.posting import About, EntryKind, payment_received
from revrec.selectors.tieouts import untied_revenue
from revrec.services import recognise as recognise_module
from revrec.services.drafts import Run
from revrec.services.journal import EntryDraft, lock_chain_head, post_entries
from revrec.services.overage import accrue_overage
from tests.revrec.builders import LONG_AGO, Shop, balances, on, recognise

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


def _entity() -> LegalEntity:
    return LegalEntity.objects.create(code="de", series_prefix="DE", created_at=LONG_AGO)


@pytest.mark.parametrize(("held", "waits"), [(MAIN_ENTITY, False), (None, True)])
def test_what_is_posted_for_an_entity_waits_for_its_own_chain_alone(
    shop: Shop, held: int | None, waits: bool
) -> None:
    """With the head of the other entity's chain held it posts; with its own, it waits."""
    customer, entity = shop.customer(), _entity()
    CustomerEntity.objects.create(
        customer=customer, entity=entity, recorded_by=worker_user(), recorded_at=LONG_AGO
    )
    shop.grant(customer, "10", "2026-01-01", price=1_000)
    done = threading.Event()

    def work() -> None:
        recognise(customer, "2026-01-02")
        done.set()
        connection.close()

    thread = threading.Thread(target=work)
    with transaction.atomic():
        lock_chain_head(held or entity.pk)
        thread.start()
        assert done.wait(0.4 if waits else 20) is not waits
    thread.join()
    assert JournalEntry.objects.get().entity == entity


def test_who_has_entries_in_one_entity_s_books_is_not_billed_by_another(shop: Shop) -> None:
    """Whatever put them there: PostgreSQL refuses, and the refusal says why."""
    customer, entity = shop.customer(), _entity()
    draft = EntryDraft(
        wanted_on=date(2026, 1, 2), kind=EntryKind.PAYMENT_RECORDED, description="By hand",
        customer_id=customer.pk, lines=payment_received(500, About("USD")), source_key="by hand",
    )  # fmt: skip
    post_entries(drafts=[draft], by=worker_user(), at=on("2026-01-02"))
    version = propose_legal_entity(
        terms=EntityTerms("de", "DE", "Beispiel GmbH", "Hafenstr. 1", "DE", "EUR"),
        proposal=Proposal("entity", "wanted", "done", "test", LONG_AGO), by=shop.maker, at=LONG_AGO,
    )  # fmt: skip
    approve(change=version.policy_change, by=shop.approver, reason="so", at=LONG_AGO)

    with pytest.raises(Conflict) as refused:
        assign_entity(customer=customer, entity=entity, by=worker_user(), at=LONG_AGO)

    assert refused.value.code == "entity_fixed"
