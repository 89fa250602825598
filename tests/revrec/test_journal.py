"""Entries are posted once, in bulk, dated and chained; PostgreSQL refuses the rest."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import IdempotencyConflict, Unbalanced
from billing_project.kernel.models import User
from billing_project.kernel.users import worker_user
from metering.models import Customer
from metering.services.customers import create_customer
from revrec.chain import GENESIS
from revrec.models import AccountingPeriod, EntrySource, JournalEntry, Posting
from revrec.posting import About, Account, EntryKind, PostingLine, payment_received
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.services.periods import ensure_period
from revrec.sources import Source, SourceType
from tests.revrec.builders import close_month

pytestmark = pytest.mark.django_db
USD = About("USD")
AT = datetime(2026, 2, 10, 9, tzinfo=UTC)


@pytest.fixture
def by() -> User:
    """Return who posts."""
    return worker_user()


@pytest.fixture
def customer(by: User) -> Customer:
    """Return a customer."""
    return create_customer(external_id="acme", name="Acme", currency="USD", by=by, at=AT)


@pytest.fixture
def draft(customer: Customer) -> Callable[..., EntryDraft]:
    """Return a maker of drafts of payments."""

    def make(number: int = 1, wanted_on: date = date(2026, 1, 15), amount: int = 500) -> EntryDraft:
        return EntryDraft(
            wanted_on=wanted_on,
            kind=EntryKind.PAYMENT_RECORDED,
            description=f"Payment {number}",
            customer_id=customer.pk,
            lines=payment_received(amount, USD),
            source_key=f"payment:{number}:recorded",
            sources=(Source(SourceType.PAYMENT, number),),
        )

    return make


Make = Callable[..., EntryDraft]


def test_entries_are_posted_with_postings_and_sources(by: User, draft: Make) -> None:
    [entry] = post_entries(drafts=[draft()], by=by, at=AT)

    assert list(entry.postings.values_list("position", "account_id", "amount_minor")) == [
        (1, "1000", 500),
        (2, "1100", -500),
    ]
    assert list(entry.sources.values_list("source_type", "source_id", "role")) == [
        ("payment", 1, "paid")
    ]
    assert (entry.period.start_on, entry.effective_on) == (date(2026, 1, 1), date(2026, 1, 15))


def test_the_same_drafts_again_are_skipped(by: User, draft: Make) -> None:
    post_entries(drafts=[draft(1)], by=by, at=AT)

    entries = post_entries(drafts=[draft(1), draft(2), draft(2)], by=by, at=AT)

    assert [entry.source_key for entry in entries] == ["payment:2:recorded"]
    assert (JournalEntry.objects.count(), Posting.objects.count()) == (2, 4)


def test_the_same_key_with_other_content_is_a_conflict(by: User, draft: Make) -> None:
    post_entries(drafts=[draft(1)], by=by, at=AT)

    with pytest.raises(IdempotencyConflict):
        post_entries(drafts=[draft(1, amount=501)], by=by, at=AT)


def test_a_draft_that_moves_nothing_is_refused(by: User, draft: Make) -> None:
    with pytest.raises(Unbalanced):
        post_entries(drafts=[draft(amount=0)], by=by, at=AT)


def test_a_draft_that_does_not_balance_is_refused(by: User, draft: Make) -> None:
    one_sided = replace(draft(), lines=(PostingLine(Account.CASH, 5, USD),))

    with pytest.raises(Unbalanced):
        post_entries(drafts=[one_sided], by=by, at=AT)


def test_entries_form_a_chain_from_the_first_on(by: User, draft: Make) -> None:
    first, second = post_entries(drafts=[draft(1), draft(2)], by=by, at=AT)
    [third] = post_entries(drafts=[draft(3)], by=by, at=AT)

    assert [e.chain_position for e in (first, second, third)] == [1, 2, 3]
    assert first.previous_sha256 == GENESIS
    assert (second.previous_sha256, third.previous_sha256) == (
        first.entry_sha256,
        second.entry_sha256,
    )


def test_a_closed_month_sends_entries_to_the_first_open_day(by: User, draft: Make) -> None:
    close_month("2026-01-01", AT)

    late, older, in_time = post_entries(
        drafts=[draft(2), draft(3, date(2025, 11, 30)), draft(4, date(2026, 2, 7))], by=by, at=AT
    )

    assert late.effective_on == older.effective_on == date(2026, 2, 1)
    assert in_time.effective_on == date(2026, 2, 7)


def test_months_are_opened_as_they_are_needed(by: User, draft: Make) -> None:
    post_entries(drafts=[draft(1), draft(2, date(2026, 4, 30))], by=by, at=AT)

    months = AccountingPeriod.objects.values_list("start_on", "end_on")
    assert list(months) == [
        (date(2026, 1, 1), date(2026, 2, 1)),
        (date(2026, 4, 1), date(2026, 5, 1)),
    ]


def test_facts_that_move_nothing_are_noted_without_an_entry() -> None:
    note_nothing_to_post(sources=[Source(SourceType.RATED_USAGE, 7)])

    source = EntrySource.objects.get()
    assert (source.entry, source.source_id, source.role) == (None, 7, "accrued")


def test_a_fact_is_accounted_for_once(by: User, draft: Make) -> None:
    post_entries(drafts=[draft(1)], by=by, at=AT)
    other = replace(draft(2), sources=(Source(SourceType.PAYMENT, 1),))

    with pytest.raises(DatabaseError, match="entry_source_once"), transaction.atomic():
        post_entries(drafts=[other], by=by, at=AT)


def test_a_reversal_names_what_it_reverses_once(by: User, draft: Make) -> None:
    [entry] = post_entries(drafts=[draft(1)], by=by, at=AT)
    back = replace(draft(2, amount=-500), reverses_id=entry.pk)
    post_entries(drafts=[back], by=by, at=AT)

    with pytest.raises(DatabaseError, match="reverses_id"), transaction.atomic():
        post_entries(drafts=[replace(back, source_key="again", sources=())], by=by, at=AT)


# What follows goes past the service: PostgreSQL itself keeps the ledger.


def _entry(**changes: object) -> JournalEntry:
    """Insert an entry by hand."""
    period = changes.pop("period", None) or ensure_period(date(2026, 1, 1))
    number = JournalEntry.objects.count() + 1
    values: dict[str, object] = {
        "period": period,
        "effective_on": date(2026, 1, 15),
        "kind": "by_hand",
        "description": "By hand",
        "posting_count": 2,
        "source_key": f"by_hand:{number}",
        "recorded_at": AT,
        "recorded_by": worker_user(),
        "chain_position": number,
        "previous_sha256": f"{number:064}",
        "entry_sha256": f"{number + 1:064}",
    }
    return JournalEntry.objects.create(**{**values, **changes})


def _post(entry: JournalEntry, *amounts: tuple[str, int, str]) -> None:
    Posting.objects.bulk_create(
        Posting(entry=entry, position=n, account_id=account, amount_minor=minor, currency=code)
        for n, (account, minor, code) in enumerate(amounts, start=1)
    )


def _commit() -> None:
    """Fire what is deferred to the commit."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def _commit_entry(count: int, amounts: list[tuple[str, int, str]]) -> None:
    _post(_entry(posting_count=count), *amounts)
    _commit()


GOOD = (("1000", 500, "USD"), ("1100", -500, "USD"))


def test_postgresql_takes_a_balanced_entry() -> None:
    _post(_entry(), *GOOD)

    _commit()


@pytest.mark.parametrize(
    ("count", "amounts", "words"),
    [
        (2, [("1000", 500, "USD"), ("1100", -499, "USD")], "does not balance in USD"),
        (2, [("1000", 500, "USD"), ("1100", -500, "EUR")], "balance in (EUR, USD|USD, EUR)"),
        (3, GOOD, "declares 3 postings and has 2"),
        (1, [("1000", 500, "USD"), ("1100", -500, "USD")], "declares 1 postings and has 2"),
        (0, [], "declares 0 postings and has 0"),
        (2, [], "declares 2 postings and has 0"),
    ],
)
def test_postgresql_refuses_an_entry_that_does_not_balance(
    count: int, amounts: list[tuple[str, int, str]], words: str
) -> None:
    with pytest.raises(DatabaseError, match=words), transaction.atomic():
        _commit_entry(count, amounts)


def test_postgresql_refuses_a_posting_of_zero() -> None:
    with pytest.raises(DatabaseError, match="posting_not_zero"), transaction.atomic():
        _post(_entry(), ("1000", 0, "USD"))


def test_postgresql_refuses_an_entry_outside_its_period() -> None:
    with pytest.raises(DatabaseError, match="lies outside"), transaction.atomic():
        _entry(effective_on=date(2026, 2, 1))


def test_postgresql_refuses_an_entry_in_a_closed_period(by: User) -> None:
    period = close_month("2026-01-01", AT)

    with pytest.raises(DatabaseError, match="is closed"), transaction.atomic():
        _entry(period=period)


def test_postgresql_refuses_two_entries_in_one_place_of_the_chain() -> None:
    _post(_entry(), *GOOD)

    with pytest.raises(DatabaseError, match="chain_position"), transaction.atomic():
        _entry(chain_position=1)
    with pytest.raises(DatabaseError, match="previous_sha256"), transaction.atomic():
        _entry(previous_sha256=f"{1:064}")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE posting SET amount_minor = amount_minor * 2",
        "DELETE FROM posting",
        "TRUNCATE posting",
        "UPDATE journal_entry SET description = 'other'",
        "DELETE FROM journal_entry",
        "TRUNCATE journal_entry CASCADE",
        "UPDATE entry_source SET source_id = source_id + 1",
        "DELETE FROM entry_source",
        "TRUNCATE entry_source",
        "UPDATE ledger_account SET is_debit_normal = NOT is_debit_normal",
        "DELETE FROM ledger_account",
    ],
)
def test_postgresql_keeps_what_was_posted(by: User, draft: Make, statement: str) -> None:
    post_entries(drafts=[draft()], by=by, at=AT)
    _commit()

    with (
        pytest.raises(DatabaseError, match="refused"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.django_db(transaction=True)
def test_postgresql_refuses_a_posting_that_comes_later() -> None:
    with transaction.atomic():
        entry = _entry()
        _post(entry, *GOOD)

    with pytest.raises(DatabaseError, match="its own transaction only"), transaction.atomic():
        Posting.objects.bulk_create(
            Posting(entry=entry, position=n, account_id="1000", amount_minor=minor, currency="USD")
            for n, minor in ((3, 7), (4, -7))
        )


@pytest.mark.django_db(transaction=True)
def test_an_entry_may_be_written_in_a_savepoint() -> None:
    with transaction.atomic(), transaction.atomic():
        entry = _entry()
        with transaction.atomic():
            _post(entry, *GOOD)

    assert Posting.objects.count() == 2
