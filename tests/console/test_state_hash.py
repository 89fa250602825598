"""The state hash is the same for the same facts, and for no others."""

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from billing_project.console.portable.state import (
    PartHash,
    StateHash,
    as_content,
    of_content,
    state_hash,
)
from billing_project.console.portable.state_sql import PARTS
from metering.events import EventInput
from metering.services.capture import capture_events
from tests.console.chain import CLOSED_AT, USED_AT, Chain, recognise, run_chain, settle
from tests.console.moving import empty
from tests.invoicing.builders import cancel, rate, use
from tests.worlds import standing

_SOME = "5e" * 32
_LATE = USED_AT + timedelta(days=1)


def _world() -> Chain:
    chain = run_chain()
    settle(chain)
    return chain


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Chain]:
    with standing(_world, django_db_blocker) as chain:
        yield chain


@pytest.fixture
def chain(made: Chain, db: None) -> Chain:
    return made


def test_the_hash_of_all_is_over_names_lines_and_hashes() -> None:
    one = StateHash((PartHash("windows", 2, _SOME),))
    assert one.sha256 == of_content(as_content(one)).sha256
    others = [PartHash("window", 2, _SOME), PartHash("windows", 3, _SOME)]
    assert all(StateHash((other,)).sha256 != one.sha256 for other in others)
    assert StateHash((others[1],)).differing(one) == ["windows"]


def test_every_part_of_a_whole_chain_has_lines(chain: Chain) -> None:
    found = state_hash()
    assert [part.name for part in found.parts] == [part.name for part in PARTS]
    assert all(part.lines for part in found.parts)


def test_the_same_facts_under_other_ids_have_the_same_hash(chain: Chain) -> None:
    before = state_hash()
    empty()
    assert not any(part.lines for part in state_hash().parts)
    again = _world()
    assert again.overage.pk != chain.overage.pk
    assert state_hash() == before


def test_what_the_worker_did_in_one_run_or_in_two_is_the_same(chain: Chain) -> None:
    with transaction.atomic():
        for identifier in ("late-1", "late-2"):
            use(chain.shop, 3, _LATE, identifier)
            recognise(chain.shop, chain.subscription, CLOSED_AT)
        twice = state_hash()
        transaction.set_rollback(True)
    events = [
        EventInput(
            event_name="llm_request", identifier=identifier, customer="acme", timestamp=_LATE,
            properties={"model": "small", "output_tokens": "3"},
        )
        for identifier in ("late-1", "late-2")
    ]  # fmt: skip
    assert capture_events(items=events, sender="test", at=_LATE).accepted == 2
    rate(chain.shop, "acme", CLOSED_AT)
    recognise(chain.shop, chain.subscription, CLOSED_AT)
    assert state_hash() == twice


def test_usage_that_was_cancelled_leaves_no_line_among_the_windows(chain: Chain) -> None:
    windows = state_hash().parts[0]
    use(chain.shop, 3, _LATE, "late-1")
    assert state_hash().parts[0] != windows
    cancel(chain.shop, "late-1", CLOSED_AT)
    assert state_hash().parts[0] == windows


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("usage_window SET quantity = quantity + 1", "windows"),
        ("rated_usage SET charge = charge + 1, drawn = drawn + 1", "ratings"),
        ("credit_grant SET priority = priority + 1", "grants"),
        ("ledger_transaction SET cost_unrounded = cost_unrounded + 1", "ledger"),
        ("invoice_line SET description = description || '.'", "invoices"),
        ("invoice SET currency = 'EUR'", "settled"),
        ("revenue_schedule_line SET amount_minor = amount_minor + 1", "schedules"),
        ("posting SET amount_minor = amount_minor * 2", "journal"),
    ],
)
def test_a_change_shows_in_its_part(chain: Chain, change: str, part: str) -> None:
    before = state_hash()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {change.split()[0]} DISABLE TRIGGER USER")
        cursor.execute(f"UPDATE {change}")
    assert part in state_hash().differing(before)


def test_the_command_says_expects_and_writes_lines(chain: Chain, tmp_path: Path) -> None:
    out = StringIO()
    call_command("state_hash", json=True, lines=str(tmp_path), stdout=out)
    said = json.loads(out.getvalue())
    assert said["sha256"] == state_hash().sha256
    lines = (tmp_path / "windows.jsonl").read_text().splitlines()
    assert len(lines) == said["parts"]["windows"]["lines"]
    call_command("state_hash", expect=said["sha256"], stdout=StringIO())
    with pytest.raises(SystemExit):
        call_command("state_hash", expect=_SOME, stdout=StringIO(), stderr=StringIO())
