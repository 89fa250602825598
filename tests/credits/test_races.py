"""Two workers at once: real connections and an injected gap between reading and writing."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType

import pytest
from django.db import DatabaseError, connection
from django.db.models import Model

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.models import OutboxMessage, User
from billing_project.kernel.period import Period
from billing_project.kernel.users import ensure_roles
from credits import checks
from credits.models import (
    CreditGrant,
    CreditPolicy,
    GrantTerms,
    LedgerTransaction,
    RatedUsage,
    RecurringGrant,
)
from credits.services import burning, policies, rating, recurring, terms
from credits.services.grants import void_grant
from credits.services.rating import rate_customer
from credits.services.recurring import create_recurring_grant, give_recurring_grants
from credits.services.terms import TermsInput, propose_grant_terms
from metering.models import Customer
from tests.credits.builders import NOVEMBER, Shop, make_shop, words

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
GAP = 0.3


@pytest.fixture
def open_shop(transactional_db: None, maker: User, approver: User) -> Shop:
    """Return a shop that is committed, with 100 credits granted and 100 used."""
    ensure_roles()
    shop = make_shop(maker, approver, AT)
    shop.grant("100")
    shop.use(input="200")
    return shop


@pytest.fixture
def _gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait between reading what is left of the grants and writing what was drawn."""
    write = burning.Pages.write

    def slowly(self: burning.Pages) -> int:
        time.sleep(GAP)
        return write(self)

    monkeypatch.setattr(burning.Pages, "write", slowly)


def _at_once(*acts: Callable[[], object]) -> list[BaseException]:
    failures: list[BaseException] = []

    def run(act: Callable[[], object]) -> None:
        try:
            act()
        except DatabaseError as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def _rating(shop: Shop) -> Callable[[], object]:
    return lambda: rate_customer(customer_id=shop.customer.pk, by=shop.maker, at=AT)


@pytest.mark.usefixtures("_gap")
def test_two_workers_rate_usage_once(open_shop: Shop) -> None:
    failures = _at_once(_rating(open_shop), _rating(open_shop))

    assert failures == []
    assert RatedUsage.objects.count() == 1
    assert [entry.credits for entry in LedgerTransaction.objects.filter(kind="drawn")] == [-100]


@pytest.mark.usefixtures("_gap")
def test_without_the_lock_the_database_has_to_refuse(
    open_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The canary: it shows that the gap is wide enough for the test above to mean something. The
    # notes go, too: deleting the same one makes the second worker wait like a lock.
    monkeypatch.setattr(rating, "lock_customer", lambda customer_id: None)
    OutboxMessage.objects.all().delete()

    failures = _at_once(_rating(open_shop), _rating(open_shop))

    assert len(failures) == 1
    assert RatedUsage.objects.count() == 1  # Its key is unique: nothing is charged twice.


@pytest.mark.usefixtures("_gap")
def test_a_void_beside_a_drawdown_takes_only_what_is_left(open_shop: Shop) -> None:
    open_shop.use(input="2")
    grant = open_shop.grant("50", priority=99)

    def void() -> None:
        with suppress(Exception):
            void_grant(grant=grant, reason_code="mistake", by=open_shop.maker, at=AT)

    failures = _at_once(_rating(open_shop), void)

    assert failures == []
    grant.refresh_from_db()
    assert grant.remaining == 0
    assert list(checks.grants_follow_the_ledger()) == []
    assert list(checks.drawn_is_in_the_ledger()) == []


def _order(shop: Shop) -> CreditPolicy:
    words = Proposal("Order", "Product asked", "One key first", "order", AT)
    return policies.propose_credit_policy(proposal=words, by=shop.maker, at=AT)


def _terms(shop: Shop) -> GrantTerms:
    words = Proposal("Terms", "Product asked", "A life of a week", "terms", AT)
    said = TermsInput("included", life_days=7)
    return propose_grant_terms(code="weekly", terms=said, proposal=words, by=shop.maker, at=AT)


Propose = Callable[[Shop], Model]
NUMBERED = pytest.mark.parametrize(
    ("module", "model", "propose"),
    [(policies, CreditPolicy, _order), (terms, GrantTerms, _terms)],
    ids=["burn order", "grant terms"],
)


@pytest.fixture
def _slow_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait between taking a number and writing the version that has it."""
    for module, name in ((policies, "content_of_policy"), (terms, "content_of_terms")):
        monkeypatch.setattr(module, name, _slowed(getattr(module, name)))


def _slowed(content: Callable[[Model], dict[str, object]]) -> Callable[[Model], dict[str, object]]:
    def slowly(version: Model) -> dict[str, object]:
        time.sleep(GAP)
        return content(version)

    return slowly


@NUMBERED
@pytest.mark.usefixtures("_slow_content")
def test_two_versions_proposed_at_once_take_numbers_one_after_the_other(
    open_shop: Shop, module: ModuleType, model: type[Model], propose: Propose
) -> None:
    count = model._default_manager.count()

    assert _at_once(*[lambda: propose(open_shop)] * 2) == []

    numbers = model._default_manager.order_by("number").values_list("number", flat=True)
    assert list(numbers) == list(range(1, count + 3))


@NUMBERED
@pytest.mark.usefixtures("_slow_content")
def test_canary_without_waiting_they_take_the_same_number(
    open_shop: Shop, monkeypatch: pytest.MonkeyPatch, module: ModuleType, model: type[Model],
    propose: Propose,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "wait_for", lambda name: None)

    assert len(_at_once(*[lambda: propose(open_shop)] * 2)) == 1


@pytest.fixture
def weekly(open_shop: Shop) -> RecurringGrant:
    """Return a rule of 10 credits a week that stood still since 1 November: three are missing."""
    said = propose_grant_terms(
        code="weekly", terms=TermsInput("included", life_days=7), proposal=words(NOVEMBER.start),
        by=open_shop.maker, at=AT,
    )  # fmt: skip
    open_shop.approve(said.policy_change)
    said.refresh_from_db()
    return create_recurring_grant(
        customer=open_shop.customer, terms=said, pricing_unit=open_shop.unit, amount=Decimal(10),
        interval_unit="week", start_at=NOVEMBER.start, reason_code="plan", source_key="weekly",
        by=open_shop.maker, at=AT,
    )  # fmt: skip


@pytest.fixture
def _slow_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait between reading which periods have no grant and giving them."""
    waiting = recurring._waiting

    def slowly(rule: RecurringGrant, at: datetime) -> list[Period]:
        found = waiting(rule, at)
        time.sleep(GAP)
        return found

    monkeypatch.setattr(recurring, "_waiting", slowly)


def _caught_up(shop: Shop) -> list[int]:
    """Let two workers catch up at once; return how many grants each says it gave."""
    counts: list[int] = []

    def give() -> None:
        counts.append(give_recurring_grants(by=shop.maker, at=AT))

    assert _at_once(give, give) == []
    return sorted(counts)


@pytest.mark.usefixtures("_slow_waiting", "weekly")
def test_two_workers_catch_up_with_a_recurring_grant_once(open_shop: Shop) -> None:
    assert _caught_up(open_shop) == [0, 3]

    given = CreditGrant.objects.filter(rule__isnull=False)
    assert given.count() == given.values("rule_period_at").distinct().count() == 3


@pytest.mark.usefixtures("_slow_waiting", "weekly")
def test_canary_without_the_lock_both_give_what_only_its_key_makes_one(
    open_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlocked(customer_id: int) -> Customer:
        return Customer.objects.get(pk=customer_id)

    monkeypatch.setattr(recurring, "lock_customer", unlocked)

    assert _caught_up(open_shop) == [3, 3]
    assert CreditGrant.objects.filter(rule__isnull=False).count() == 3
