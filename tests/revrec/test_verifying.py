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
from invoicing.models import MAIN_ENTITY, CustomerEntity, LegalEntity
from metering.services.customers import create_customer
from revrec.chain import GENESIS, origin
from revrec.links import Fault, Head
from revrec.models import JournalEntry
from revrec.posting import About, EntryKind, payment_received
from revrec.selectors.journal import chain_head
from revrec.selectors.verifying import Walk, chain_faults
from revrec.services.journal import EntryDraft, post_entries

pytestmark = pytest.mark.django_db
AT = datetime(2026, 2, 10, 9, tzinfo=UTC)
COUNT, COUNTS = 30, (20, 10)  # Of the main entity, and of another.
TABLES = ("journal_entry", "posting", "entry_source", "accounting_period")


@pytest.fixture
def journal(db: None) -> None:
    """Post thirty entries in two months, ten of them of a second entity; switch every guard off."""
    by = worker_user()
    customers = [
        create_customer(external_id=f"c{n}", name=f"C {n}", currency="USD", by=by, at=AT)
        for n in range(3)
    ]
    other = LegalEntity.objects.create(code="de", series_prefix="DE", created_at=AT)
    CustomerEntity.objects.create(
        customer=customers[2], entity=other, recorded_by=by, recorded_at=AT
    )
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
        "id": "{0} + 100000", "entity_id": "{0} + 76",
        "period_id": "(SELECT max(p.id) + min(p.id) FROM accounting_period p) - {0}",
        "effective_on": _DAY, "kind": "{0} || 'x'", "description": "{0} || ' '",
        "customer_id": _NUMBER, "posting_count": _NUMBER, "reverses_id": "coalesce({0}, 0) + id",
        "source_key": "{0} || 'x'", "recorded_at": "{0} + interval '1 microsecond'",
        "recorded_by_id": _NUMBER, "chain_position": "{0} + 100000",
        "previous_sha256": _HASH, "entry_sha256": _HASH,
    },
    "posting": {
        "entry_id": "{0} + 1", "position": "{0} + 5", "account_id": "'4000'",
        "amount_minor": "-{0}", "currency": "'EUR'", "customer_id": _NUMBER,
        "obligation_id": "coalesce({0}, 0) + 1", "invoice_line_id": "coalesce({0}, 0) + 1",
        "service_start_on": _DAY, "service_end_on": _DAY, "model": "coalesce({0}, '') || 'x'",
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
    """Delete an entry that is not its chain's last, with or without its postings, or a posting."""
    chain, last = _chain(chance)
    where = f"{chain} AND chain_position = {chance.randint(1, last - 1)}"
    entry = f"DELETE FROM journal_entry WHERE {where}"
    postings = f"DELETE FROM posting WHERE entry_id = (SELECT id FROM journal_entry WHERE {where})"
    posting = f"DELETE FROM posting WHERE id = ({_one('posting', chance)})"
    return chance.choice([entry, f"{postings}; {entry}", posting])


def _insert(chance: Chance) -> str:
    position = chance.choice([0, -1, COUNT + 1, COUNT + 9])
    entry = (
        "INSERT INTO journal_entry SELECT (jsonb_populate_record(e, jsonb_build_object("
        f"'id', 100000, 'source_key', 'new', 'chain_position', {position},"
        f" 'entity_id', {chance.choice(['e.entity_id', '77'])},"
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
    chain, last = _chain(chance)
    one, other = chance.sample(range(1, last + 1), 2)
    there = (
        f"UPDATE journal_entry SET chain_position = {{}} WHERE {chain} AND chain_position = {{}}"
    )
    places = "; ".join([there.format(-1, one), there.format(one, other), there.format(other, -1)])
    contents = (
        "UPDATE journal_entry a SET description = b.description, effective_on = b.effective_on"
        f" FROM journal_entry b WHERE a.{chain} AND b.{chain} AND"
        f" (a.chain_position, b.chain_position) IN (({one}, {other}), ({other}, {one}))"
    )
    amounts = (
        "UPDATE posting a SET amount_minor = b.amount_minor FROM posting b WHERE a.entry_id ="
        f" b.entry_id AND a.id <> b.id AND a.entry_id = ({_one('journal_entry', chance)})"
    )
    return chance.choice([places, contents, amounts])


def _cut(chance: Chance) -> str:
    chain, last = _chain(chance)
    gone = (
        f"SELECT id FROM journal_entry WHERE {chain}"
        f" AND chain_position > {chance.randint(0, last - 1)}"
    )
    postings = f"DELETE FROM posting WHERE entry_id IN ({gone})"
    return f"{postings}; DELETE FROM journal_entry WHERE id IN ({gone})"


def _move(chance: Chance) -> str:
    """Move an entry to the other entity's chain: to its end, made to follow it, or exchanged."""
    chain, _ = _chain(chance)
    to = "(SELECT sum(y.id) FROM legal_entity y) - entity_id"
    last = f"SELECT max(chain_position) FROM journal_entry o WHERE NOT o.{chain}"
    follows = chance.choice(
        ["", f", previous_sha256 = (SELECT o.entry_sha256 FROM journal_entry o WHERE NOT o.{chain}"
             f" AND o.chain_position = ({last})) || ''"]
    )  # fmt: skip
    which = chance.choice(
        [_one_of(chain, chance), f"SELECT id FROM journal_entry WHERE {chain}"
         " ORDER BY chain_position DESC LIMIT 1"]
    )  # fmt: skip
    moved = (
        f"UPDATE journal_entry SET entity_id = {to}, chain_position = ({last}) + 1{follows}"
        f" WHERE id = ({which})"
    )
    one = chance.randint(1, min(COUNTS))
    exchanged = (
        f"UPDATE journal_entry SET chain_position = chain_position + 1000 * entity_id"
        f" WHERE chain_position = {one};"
        f" UPDATE journal_entry SET entity_id = {to}, chain_position = {one}"
        f" WHERE chain_position > 1000"
    )
    return chance.choice([moved, moved, exchanged])


def _chain(chance: Chance) -> tuple[str, int]:
    """Return a condition for one of the two chains, and how many entries that has."""
    of_main = chance.random() < 0.5
    return ("entity_id = 1", COUNTS[0]) if of_main else ("entity_id <> 1", COUNTS[1])


def _one(table: str, chance: Chance) -> str:
    return f"SELECT id FROM {table} ORDER BY id LIMIT 1 OFFSET {chance.randrange(COUNT)}"


def _one_of(chain: str, chance: Chance) -> str:
    offset = chance.randrange(min(COUNTS))
    return f"SELECT id FROM journal_entry WHERE {chain} ORDER BY id LIMIT 1 OFFSET {offset}"


def _heads() -> dict[str, Head]:
    return {one.code: Head(*chain_head(one.pk)) for one in LegalEntity.objects.all()}


def _is_found(heads: dict[str, Head]) -> bool:
    """Tell whether the chains, or what they end on against the known heads, give it away."""
    walk = Walk()
    return bool(list(chain_faults(walk, at_once=8))) or walk.heads != heads


def _tamper(seed: int, times: int) -> None:
    chance, heads = random.Random(seed), _heads()
    kinds = (_edit, _edit, _edit, _delete, _insert, _swap, _cut, _move)
    for _ in range(times):
        statement = chance.choice(kinds)(chance)
        with undone():
            assert run(statement) > 0, statement
            assert _is_found(heads), statement
    assert not _is_found(heads)


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
    assert walk.heads == _heads()
    assert {code: head.position for code, head in walk.heads.items()} == {"main": 20, "de": 10}


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
    of_main = JournalEntry.objects.filter(entity=MAIN_ENTITY)
    ids = dict(of_main.values_list("chain_position", "pk"))
    if "posting" in statement:
        statement = statement.replace("{id}", "SELECT min(id) FROM posting WHERE entry_id = {id}")
    run(statement.format(id=ids[8]))

    found = faults()

    assert found[0].subject == f"journal_entry:{ids[first]}"
    assert words in found[0].message


def test_each_entity_s_chain_begins_from_a_hash_of_its_own(journal: None) -> None:
    firsts = JournalEntry.objects.filter(chain_position=1).order_by("entity")

    assert [one.previous_sha256 for one in firsts] == [GENESIS, origin("de")]
    assert origin("de") not in (GENESIS, origin("fr"))


def test_a_posting_of_no_entry_is_found_among_those_of_others(journal: None) -> None:
    """Ids of entries have gaps, as what was rolled back leaves them."""
    gap = JournalEntry.objects.order_by("pk")[12].pk
    run(f"DELETE FROM posting WHERE entry_id = {gap}")
    run(f"DELETE FROM journal_entry WHERE id = {gap}")
    before = len(faults())
    run(f"UPDATE posting SET entry_id = {gap} WHERE id = (SELECT max(id) FROM posting)")

    assert len(faults()) == before + 2  # The entry that lost it, and the posting itself.


def test_the_command_names_the_first_bad_entry_and_fails(journal: None) -> None:
    out = StringIO()
    call_command("verify_ledger", stdout=out)
    assert out.getvalue().startswith("ok    30 entries, 60 postings")
    assert "head 20 " in out.getvalue()
    assert out.getvalue().endswith(" in the chain of de\n")
    entry = JournalEntry.objects.get(chain_position=3, entity=MAIN_ENTITY)
    run(f"UPDATE journal_entry SET description = 'other' WHERE id = {entry.pk}")

    with pytest.raises(SystemExit) as stop:
        call_command("verify_ledger", stdout=out)

    assert stop.value.code == 1
    assert f"The first bad entry is journal_entry:{entry.pk}." in out.getvalue()
