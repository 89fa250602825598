"""Months close in their order, for good, with everything due inside; what comes later goes on."""

import threading
import time
from collections.abc import Callable
from datetime import date

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import Conflict, NotAllowed
from billing_project.kernel.models import AuditEntry, User
from billing_project.kernel.users import worker_user
from revrec.models import AccountingPeriod, JournalEntry, PeriodStatus
from revrec.selectors.reports import signed_balance
from revrec.services import periods
from revrec.services import recognise as recognise_module
from revrec.services.periods import close_period, ensure_period, propose_close
from tests.revrec.builders import Shop, balances, close_month, entries, on, recognise, signed

pytestmark = pytest.mark.django_db
JANUARY = date(2026, 1, 1)


def _close(day: date, at: str, by: User | None = None) -> AccountingPeriod:
    return close_month(day, at, by)


def test_a_close_recognises_everything_due_and_stores_the_trial_balance(
    shop: Shop, books_hold: None
) -> None:
    customer = shop.subscriber("2026-01-01", fee=4_900)
    shop.use(customer, "100", "2026-01-31T23")

    period = _close(JANUARY, "2026-02-01T06")

    assert (period.status, period.closed_at) == (PeriodStatus.CLOSED, on("2026-02-01T06"))
    assert balances(customer) == {"1100": 4_900, "1200": 100, "4000": -4_900, "4020": -100}
    closing = {row["account"]: row["closing_minor"] for row in period.trial_balance}
    assert closing == {**balances(customer), "2120": 0}
    assert len(period.trial_balance_sha256) == 64
    assert AuditEntry.objects.filter(action="close_period").count() == 1


def test_own_14_late_usage_is_posted_to_the_open_month_with_its_service_day(
    shop: Shop, books_hold: None
) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    _close(JANUARY, "2026-02-01")
    shop.use(customer, "700", "2026-01-28T10")  # Worth 7.00.

    recognise(customer, "2026-02-05")

    [entry] = entries(customer, "overage_used")
    assert (entry.effective_on, str(entry.period)) == (date(2026, 2, 1), "2026-02")
    assert signed(entry) == {"1200": 700, "4020": -700}
    assert entry.postings.get(account_id="4020").service_start_on == date(2026, 1, 28)


def test_an_invoice_of_a_closed_month_is_posted_to_the_open_one(
    shop: Shop, books_hold: None
) -> None:
    ensure_period(JANUARY)
    _close(JANUARY, "2026-02-01")
    customer = shop.subscriber("2026-01-01", fee=3_100)  # Finalized on 1 January, known later.

    recognise(customer, "2026-02-02")

    assert balances(customer) == {"1100": 3_100, "4000": -3_100}
    assert set(JournalEntry.objects.values_list("effective_on", flat=True)) == {date(2026, 2, 1)}


def test_a_month_that_has_not_ended_stays_open() -> None:
    with pytest.raises(Conflict, match="has not ended"):
        _close(JANUARY, "2026-01-31T23")


def test_months_close_in_their_order() -> None:
    ensure_period(JANUARY)

    with pytest.raises(Conflict, match="2026-01 is open"):
        _close(date(2026, 2, 1), "2026-03-01")


def test_two_people_close_a_month(approver: User) -> None:
    january = ensure_period(JANUARY)
    with pytest.raises(Conflict) as unproposed:
        close_period(period=january, by=approver, at=on("2026-02-01"))
    propose_close(period=january, by=approver, at=on("2026-02-01"))
    with pytest.raises(NotAllowed, match="two people"):
        close_period(period=january, by=approver, at=on("2026-02-01"))

    # Somebody else takes the proposal over; then the first may close.
    propose_close(period=january, by=worker_user(), at=on("2026-02-01"))
    closed = close_period(period=january, by=approver, at=on("2026-02-02"))

    assert unproposed.value.code == "close_not_proposed"
    assert (closed.soft_closed_by, closed.closed_by) == (worker_user(), approver)


def test_in_a_soft_close_entries_still_join_the_month(shop: Shop, books_hold: None) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    propose_close(period=ensure_period(JANUARY), by=shop.maker, at=on("2026-02-01"))
    shop.use(customer, "700", "2026-01-28T10")

    recognise(customer, "2026-02-02")

    [entry] = entries(customer, "overage_used")
    assert str(entry.period) == "2026-01"


def test_a_close_is_final() -> None:
    _close(JANUARY, "2026-02-01")

    with pytest.raises(Conflict) as refused:
        _close(JANUARY, "2026-02-02")
    assert refused.value.code == "period_closed"


def test_people_need_the_permission(maker: User, approver: User, auditor: User) -> None:
    with pytest.raises(NotAllowed):
        propose_close(period=ensure_period(JANUARY), by=auditor, at=on("2026-02-01"))
    propose_close(period=ensure_period(JANUARY), by=maker, at=on("2026-02-01"))
    with pytest.raises(NotAllowed):
        close_period(period=ensure_period(JANUARY), by=maker, at=on("2026-02-01"))

    assert _close(JANUARY, "2026-02-01", by=approver).closed_by == approver


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE accounting_period SET status = 'open', closed_at = NULL, closed_by_id = NULL",
         "closed for good"),
        ("UPDATE accounting_period SET trial_balance = '[]'", "closed for good"),
        ("UPDATE accounting_period SET end_on = end_on + 1", "refused|closed for good"),
        ("DELETE FROM accounting_period", "refused"),
        ("TRUNCATE accounting_period CASCADE", "refused"),
        ("INSERT INTO accounting_period (start_on, end_on, status, trial_balance,"
         " trial_balance_sha256) VALUES ('2025-12-01', '2026-01-01', 'open', '[]', '')",
         "cannot open before a closed one"),
    ],
)  # fmt: skip
def test_postgresql_keeps_a_closed_month_closed(statement: str, words: str) -> None:
    _close(JANUARY, "2026-02-01")

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(DatabaseError, match=words), transaction.atomic():
            cursor.execute(statement)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE accounting_period SET status = 'closed', closed_at = now(),"
         " closed_by_id = soft_closed_by_id", "somebody else"),
        ("UPDATE accounting_period SET status = 'closed', closed_at = now(),"
         " closed_by_id = {other}, soft_closed_by_id = {other}", "somebody else"),
        ("UPDATE accounting_period SET status = 'open', soft_closed_at = NULL,"
         " soft_closed_by_id = NULL", "is proposed"),
    ],
)  # fmt: skip
def test_postgresql_refuses_a_close_by_one_person(statement: str, words: str) -> None:
    other = User.objects.create(username="other")
    propose_close(period=ensure_period(JANUARY), by=worker_user(), at=on("2026-02-01"))

    with (
        connection.cursor() as cursor,
        pytest.raises(DatabaseError, match=words),
        transaction.atomic(),
    ):
        cursor.execute(statement.format(other=other.pk))


def test_postgresql_refuses_a_close_that_nobody_proposed() -> None:
    january = ensure_period(JANUARY)
    january.status, january.closed_at = PeriodStatus.CLOSED, on("2026-02-01")
    january.closed_by = worker_user()

    with pytest.raises(DatabaseError, match="somebody else"), transaction.atomic():
        january.save()


def test_postgresql_refuses_to_close_out_of_order() -> None:
    ensure_period(JANUARY)
    february = propose_close(
        period=ensure_period(date(2026, 2, 1)), by=worker_user(), at=on("2026-03-01")
    )
    february.status, february.closed_at = PeriodStatus.CLOSED, on("2026-03-01")
    february.closed_by = User.objects.create(username="other")

    with pytest.raises(DatabaseError, match="follows one that is open"), transaction.atomic():
        february.save()


# Two connections, with a gap where it hurts.


def _in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            failures.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failures


@pytest.fixture
def closing_slowly(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Hold a close between its snapshot and its commit; the event tells when it is there."""
    reached = threading.Event()

    def slow(period: AccountingPeriod) -> list[dict[str, object]]:
        balance = signed_balance(period)
        reached.set()
        time.sleep(0.4)
        return balance

    monkeypatch.setattr(periods, "signed_balance", slow)
    return reached


def _race_close_with_late_usage(shop: Shop, closing: threading.Event) -> JournalEntry:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    ensure_period(JANUARY)
    thread, failures = _in_thread(lambda: _close(JANUARY, "2026-02-01"))
    try:
        assert closing.wait(5)
        shop.use(customer, "700", "2026-01-28T10")
        recognise(customer, "2026-02-05")
    finally:
        thread.join()  # Else it writes while the next test is made ready.
    assert failures == []
    [entry] = entries(customer, "overage_used")
    return entry


@pytest.mark.django_db(transaction=True)
def test_usage_that_arrives_during_a_close_goes_to_the_next_month(
    shop: Shop, closing_slowly: threading.Event
) -> None:
    entry = _race_close_with_late_usage(shop, closing_slowly)

    january = AccountingPeriod.objects.get(start_on=JANUARY)
    assert entry.effective_on == date(2026, 2, 1)
    assert signed_balance(january) == january.trial_balance


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_the_same_race_ends_in_a_refusal(
    shop: Shop, closing_slowly: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary: the gap is wide enough to fall into, and PostgreSQL is the net below it.

    The net is the closed month, or the deadlock of an entry that waits for the month while its
    close waits for the entry's place in the chain: whichever PostgreSQL sees first.
    """
    from revrec.services import journal, months

    def blind() -> months.OpenBooks:
        return months.OpenBooks(None)

    monkeypatch.setattr(recognise_module, "hold_open_books", blind)
    monkeypatch.setattr(journal, "hold_open_books", blind)

    with pytest.raises(DatabaseError, match=r"is closed|deadlock detected"):
        _race_close_with_late_usage(shop, closing_slowly)
