"""Whatever a superuser does to the journal with every guard off, the chain tells."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from billing_project.kernel.users import worker_user
from metering.services.customers import create_customer
from revrec.links import Fault, Head
from revrec.models import JournalEntry
from revrec.posting import About, EntryKind, payment_received
from revrec.selectors.journal import chain_head
from revrec.selectors.verifying import Walk, chain_faults
from revrec.services.journal import EntryDraft, post_entries

pytestmark = pytest.mark.django_db
AT = datetime(2026, 2, 10, 9, tzinfo=UTC)
COUNT = 30
TABLES = ("journal_entry", "posting", "entry_source", "accounting_period")


@pytest.fixture
def journal(db: None) -> None:
    """Post thirty entries in two months, and switch every guard off."""
    by = worker_user()
    customers = [
        create_customer(external_id=f"c{n}", name=f"C {n}", currency="USD", by=by, at=AT)
        for n in range(3)
    ]
    drafts = [
        EntryDraft(
            wanted_on=date(2026, 1, 20) + timedelta(days=number),
            kind=EntryKind.PAYMENT_RECORDED,
            description=f'Payment {number}, "quoted",\nfor Œuvre {number}',
            customer_id=customers[number % 3].pk,
            lines=payment_received(500 + number, _about(number)),
            source_key=f"payment:{number}:recorded",
        )
        for number in range(COUNT)
    ]
    for first in range(0, COUNT, 7):
        at = AT + timedelta(microseconds=first)
        post_entries(drafts=drafts[first : first + 7], by=by, at=at)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute("SET LOCAL session_replication_role = replica")


def _about(number: int) -> About:
    day = date(2026, 1, 1) + timedelta(days=number)
    return About("USD", service_start_on=day if number % 2 else None, service_end_on=day)


@contextmanager
def undone() -> Iterator[None]:
    """Do something and take it back."""
    point = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(point)


def run(statement: str) -> int:
    """Execute a statement; return how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return int(cursor.rowcount)


def faults(at_once: int = 8) -> list[Fault]:
    """Walk the chain in small blocks, so that neighbours lie in different ones."""
    return list(chain_faults(at_once=at_once))


Chance = random.Random
_TEXT, _NUMBER, _DAY = "'x'", "{0} + 1 + coalesce({0}, 0)", "coalesce({0}, '2020-01-01') + 1"
_HASH = "translate({0}, '0123456789abcdef', '123456789abcdef0')"
_FIELDS = {
    "journal_entry": {
        "id": "{0} + 100000", "period_id": "(SELECT max(p.id) + min(p.id) FROM accounting_period p)"
        " - {0}", "effective_on": _DAY, "kind": "{0} || 'x'", "description": "{0} || ' '",
        "customer_id": _NUMBER, "posting_count": _NUMBER, "reverses_id": "coalesce({0}, 0) + id",
        "source_key": "{0} || 'x'", "recorded_at": "{0} + interval '1 microsecond'",
        "recorded_by_id": _NUMBER, "chain_position": "{0} + 100000",
        "previous_sha256": _HASH, "entry_sha256": _HASH,
    },
    "posting": {
        "entry_id": "{0} + 1", "position": "{0} + 5", "account_id": "'4000'",
        "amount_minor": "-{0}", "currency": "'EUR'", "customer_id": _NUMBER,
        "obligation_id": "coalesce({0}, 0) + 1", "invoice_line_id": "coalesce({0}, 0) + 1",
        "service_start_on": _DAY, "service_end_on": _DAY,
    },
}  # fmt: skip


def _edit(chance: Chance) -> str:
    table = chance.choice(list(_FIELDS))
    column = chance.choice(list(_FIELDS[table]))
    if (table, column) == ("posting", "entry_id"):  # A place that the key leaves free.
        return f"UPDATE posting SET entry_id = entry_id + 100000 WHERE id = ({_one(table, chance)})"
    value = _FIELDS[table][column].format(column)
    return f"UPDATE {table} SET {column} = {value} WHERE id = ({_one(table, chance)})"


def _delete(chance: Chance) -> str:
    """Delete an entry that is not the last, with or without its postings, or a posting."""
    where = f"chain_position = {chance.randint(1, COUNT - 1)}"
    entry = f"DELETE FROM journal_entry WHERE {where}"
    postings = f"DELETE FROM posting WHERE entry_id = (SELECT id FROM journal_entry WHERE {where})"
    posting = f"DELETE FROM posting WHERE id = ({_one('posting', chance)})"
    return chance.choice([entry, f"{postings}; {entry}", posting])


def _insert(chance: Chance) -> str:
    position = chance.choice([0, -1, COUNT + 1, COUNT + 9])
    entry = (
        "INSERT INTO journal_entry SELECT (jsonb_populate_record(e, jsonb_build_object("
        f"'id', 100000, 'source_key', 'new', 'chain_position', {position},"
        " 'previous_sha256', 'p', 'entry_sha256', 's', 'reverses_id', null))).*"
        f" FROM journal_entry e WHERE id = ({_one('journal_entry', chance)})"
    )
    posting = (
        "INSERT INTO posting SELECT (jsonb_populate_record(p, jsonb_build_object('id', 100000,"
        f" 'position', 9, 'entry_id', p.entry_id + {chance.choice([0, 100_000])}))).*"
        f" FROM posting p WHERE id = ({_one('posting', chance)})"
    )
    return chance.choice([entry, posting])


def _swap(chance: Chance) -> str:
    """Let two entries, or two postings, change places or contents."""
    one, other = chance.sample(range(1, COUNT + 1), 2)
    places = (
        f"UPDATE journal_entry SET chain_position = -1 WHERE chain_position = {one};"
        f"UPDATE journal_entry SET chain_position = {one} WHERE chain_position = {other};"
        f"UPDATE journal_entry SET chain_position = {other} WHERE chain_position = -1"
    )
    contents = (
        "UPDATE journal_entry a SET description = b.description, effective_on = b.effective_on"
        " FROM journal_entry b WHERE (a.chain_position, b.chain_position) IN"
        f" (({one}, {other}), ({other}, {one}))"
    )
    amounts = (
        "UPDATE posting a SET amount_minor = b.amount_minor FROM posting b WHERE a.entry_id ="
        f" b.entry_id AND a.id <> b.id AND a.entry_id = ({_one('journal_entry', chance)})"
    )
    return chance.choice([places, contents, amounts])


def _cut(chance: Chance) -> str:
    last = f"SELECT id FROM journal_entry WHERE chain_position > {chance.randint(0, COUNT - 1)}"
    postings = f"DELETE FROM posting WHERE entry_id IN ({last})"
    return f"{postings}; DELETE FROM journal_entry WHERE id IN ({last})"


def _one(table: str, chance: Chance) -> str:
    return f"SELECT id FROM {table} ORDER BY id LIMIT 1 OFFSET {chance.randrange(COUNT)}"


def _is_found(head: Head) -> bool:
    """Tell whether the chain, or what it ends on against the head that was known, gives it away."""
    walk = Walk()
    return bool(list(chain_faults(walk, at_once=8))) or walk.head != head


def _tamper(seed: int, times: int) -> None:
    chance, head = random.Random(seed), Head(*chain_head())
    kinds = (_edit, _edit, _edit, _delete, _insert, _swap, _cut)
    for _ in range(times):
        statement = chance.choice(kinds)(chance)
        with undone():
            assert run(statement) > 0, statement
            assert _is_found(head), statement
    assert not _is_found(head)


def test_whatever_is_tampered_with_is_found(journal: None) -> None:
    _tamper(seed=1, times=100)


@pytest.mark.long
def test_a_thousand_tamperings_are_found(journal: None) -> None:
    _tamper(seed=20_261_124, times=1000)


@pytest.mark.parametrize("at_once", [1, 7, 30, 1000])
def test_a_sound_chain_raises_no_alarm_however_it_is_read(journal: None, at_once: int) -> None:
    walk = Walk()

    assert list(chain_faults(walk, at_once)) == []
    assert (walk.entry_count, walk.posting_count) == (COUNT, 2 * COUNT)
    assert walk.head == Head(*chain_head())


def test_an_empty_chain_is_sound(db: None) -> None:
    assert faults() == []


@pytest.mark.parametrize(
    ("statement", "first", "words"),
    [
        ("UPDATE posting SET amount_minor = 1 WHERE id = ({id})", 8, "its fields or its"),
        ("UPDATE journal_entry SET entry_sha256 = 'a' WHERE id = {id}", 8, "entry_sha256 was"),
        (
            "UPDATE journal_entry SET previous_sha256 = 'a' WHERE id = {id}",
            8,
            "previous_sha256 w",
        ),
        ("DELETE FROM journal_entry WHERE id = {id}", 9, "is at position 9, expected 8"),
    ],
)
def test_the_first_bad_entry_is_named_and_what_differs(
    journal: None, statement: str, first: int, words: str
) -> None:
    """Position 8 is the last of a block: the entry after it is not read with it."""
    ids = dict(JournalEntry.objects.values_list("chain_position", "pk"))
    if "posting" in statement:
        statement = statement.replace("{id}", "SELECT min(id) FROM posting WHERE entry_id = {id}")
    run(statement.format(id=ids[8]))

    found = faults()

    assert found[0].subject == f"journal_entry:{ids[first]}"
    assert words in found[0].message


def test_the_command_names_the_first_bad_entry_and_fails(journal: None) -> None:
    out = StringIO()
    call_command("verify_ledger", stdout=out)
    assert out.getvalue().startswith("ok    30 entries, 60 postings")
    entry = JournalEntry.objects.get(chain_position=3)
    run(f"UPDATE journal_entry SET description = 'other' WHERE id = {entry.pk}")

    with pytest.raises(SystemExit) as stop:
        call_command("verify_ledger", stdout=out)

    assert stop.value.code == 1
    assert f"The first bad entry is journal_entry:{entry.pk}." in out.getvalue()
