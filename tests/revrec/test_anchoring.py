"""A state older than the last seal outside the database is posted to by nobody."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from psycopg import sql

from billing_project.console.exceptions import exceptions_at
from billing_project.kernel.models import User
from billing_project.kernel.users import worker_user
from revrec import tasks
from revrec.checks import anchor_stands
from revrec.links import Head
from revrec.models import AccountingPeriod, JournalEntry, LedgerSeal
from revrec.posting import About, Account, EntryKind, pair
from revrec.sealing import (
    Contents,
    file_text,
    manifest_text,
    new_key,
    public_key_of,
    public_pem,
    sign,
)
from revrec.selectors.journal import chain_head
from revrec.services.anchoring import (
    OlderState,
    last_anchor,
    older_state,
    refuse_older_state,
    set_aside,
)
from revrec.services.journal import EntryDraft, post_entries
from revrec.services.periods import close_period, propose_close
from revrec.services.recognise import recognise_pending
from revrec.services.sealing import seal_file
from tests.revrec.builders import close_month

AT = datetime(2026, 2, 10, 9, tzinfo=UTC)


@pytest.fixture
def seals(settings: LazySettings, tmp_path: Path) -> Path:
    folder = tmp_path / "seals"
    folder.mkdir()
    settings.SEALS_DIR = str(folder)
    return folder


def _seal(month: int, position: int, key: bytes, codes: tuple[str, ...] = ("main",)) -> str:
    text = manifest_text(
        entity="Example AI",
        period=(date(2026, month, 1), date(2026, month + 1, 1)),
        trial_balance_sha256="b" * 64,
        chains=[Contents(code, Head(position, "a" * 64), 2 * position, []) for code in codes],
        at=datetime(2026, month + 1, 2, tzinfo=UTC),
    )
    return file_text(text, sign(text, key), public_key_of(key))


def _post(number: int) -> None:
    draft = EntryDraft(
        wanted_on=date(2026, 1, 15),
        kind=EntryKind.PAYMENT_RECORDED,
        description=f"Payment {number}",
        customer_id=None,
        lines=pair(Account.PROCESSOR_FEES, Account.CASH, 500 + number, About("USD")),
        source_key=f"payment:{number}:recorded",
    )
    post_entries(drafts=[draft], by=worker_user(), at=AT)


# Which seal is the anchor


def test_the_newest_seal_that_a_key_of_ours_signed_is_the_anchor(
    seals: Path, settings: LazySettings
) -> None:
    ours = Path(settings.SEALING_KEY_FILE).read_bytes()
    assert last_anchor() is None

    (seals / "b.seal.json").write_text(_seal(1, 3, ours))
    (seals / "a.seal.json").write_text(_seal(2, 7, ours))
    (seals / "c.seal.json").write_text(_seal(5, 99, new_key()))  # A stranger's.
    (seals / "d.seal.json").write_text(_seal(6, 99, ours)[:200])  # Cut.

    anchor = last_anchor()
    assert anchor is not None
    assert anchor.name == "a.seal.json"


def test_a_former_key_counts_while_its_public_half_lies_beside_the_new_one(
    seals: Path, settings: LazySettings, tmp_path: Path
) -> None:
    former = new_key()
    (tmp_path / "key.pem").write_bytes(new_key())
    settings.SEALING_KEY_FILE = str(tmp_path / "key.pem")
    (seals / "a.seal.json").write_text(_seal(1, 3, former))
    assert last_anchor() is None

    (tmp_path / "former.pub.pem").write_bytes(public_pem(former))

    assert last_anchor() is not None


def test_a_file_that_changes_is_read_again(seals: Path, settings: LazySettings) -> None:
    ours, file = Path(settings.SEALING_KEY_FILE).read_bytes(), seals / "a.seal.json"
    file.write_text(_seal(1, 3, ours))
    first = last_anchor()

    file.write_text(_seal(2, 4, ours))
    os.utime(file, ns=(1, 1))

    second = last_anchor()
    assert first is not None
    assert second is not None
    assert second.manifest["period"]["start_on"] == "2026-02-01"


# What is refused


@pytest.mark.django_db
def test_without_a_seal_outside_the_database_everything_is_posted(
    settings: LazySettings, tmp_path: Path
) -> None:
    settings.SEALS_DIR = str(tmp_path / "nothing")

    _post(1)

    assert older_state() == ""
    assert JournalEntry.objects.count() == 1


@pytest.mark.django_db
def test_a_journal_that_ends_before_its_seal_is_posted_to_by_nobody(
    seals: Path, settings: LazySettings, approver: User
) -> None:
    _post(1)
    january, by = AccountingPeriod.objects.get(), worker_user()
    propose_close(period=january, by=approver, at=AT)  # While all was well.
    (seals / "jan.seal.json").write_text(_seal(1, 3, Path(settings.SEALING_KEY_FILE).read_bytes()))

    refused = "jan.seal.json, chain of main: the journal ends at position 1.*missing: 2 to 3"
    with pytest.raises(OlderState, match=refused):
        _post(2)
    with pytest.raises(OlderState, match="Restore a backup from after 2026-02-02"):
        recognise_pending(by=by, at=AT)
    with pytest.raises(OlderState):
        propose_close(period=january, by=by, at=AT)
    with pytest.raises(OlderState):
        close_period(period=january, by=by, at=AT)
    assert tasks.recognise() == 0
    assert JournalEntry.objects.count() == 1
    with set_aside():
        _post(2)


@pytest.mark.django_db
def test_a_chain_that_is_gone_or_was_written_anew_is_named(
    seals: Path, settings: LazySettings
) -> None:
    _post(1)
    ours = Path(settings.SEALING_KEY_FILE).read_bytes()
    (seals / "jan.seal.json").write_text(_seal(1, 1, ours, ("main", "uk")))

    with pytest.raises(OlderState) as refused:
        refuse_older_state()

    assert "chain of main: the entry at position 1 has" in refused.value.message
    assert "chain of uk: the journal ends at position 0" in refused.value.message


@pytest.mark.django_db
def test_whoever_looks_after_it_is_told(
    seals: Path, settings: LazySettings, admin_client: Client
) -> None:
    (seals / "jan.seal.json").write_text(_seal(1, 3, Path(settings.SEALING_KEY_FILE).read_bytes()))

    ready = Client().get("/readyz")
    [kind] = [kind for kind in exceptions_at(AT) if "last seal" in kind.title]
    [finding] = list(anchor_stands())
    pages = [admin_client.get(url).content.decode() for url in ("/admin/", "/admin/books/")]

    assert (ready.status_code, ready.json()["books"]) == (200, "older_state")
    assert "missing: 1 to 3" in ready.json()["books_detail"]
    assert kind.rows[0].title == "jan.seal.json, chain of main"
    assert "missing: 1 to 3" in finding.message
    assert all("nothing is posted or closed" in page for page in pages)


# A restore


@contextmanager
def _backup() -> Iterator[Callable[[], None]]:
    """Copy the database as it stands; yield what puts the copy in its place."""
    usual = str(connection.settings_dict["NAME"])
    copy = f"{usual}_older"
    _of_server("DROP DATABASE IF EXISTS {} WITH (FORCE)", copy)
    _of_server("CREATE DATABASE {} TEMPLATE {}", copy, usual)

    def restore() -> None:
        connection.close()
        connection.settings_dict["NAME"] = copy

    try:
        yield restore
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual
        _of_server("DROP DATABASE {} WITH (FORCE)", copy)


def _of_server(statement: str, *names: str) -> None:
    connection.close()
    with connection._nodb_cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.mark.django_db(transaction=True)
def test_a_restored_backup_of_before_the_last_close_takes_nothing_in(seals: Path) -> None:
    _post(1)
    with _backup() as restore:
        _post(2)
        close_month("2026-01-01", AT)
        name, _ = seal_file(LedgerSeal.objects.get())
        assert [file.name for file in seals.iterdir()] == [name]
        _post(3)  # What was sealed stands: the house goes on.

        restore()

        assert (chain_head()[0], LedgerSeal.objects.count()) == (1, 0)
        with pytest.raises(OlderState, match=f"{name}.*missing: 2"):
            _post(3)
        with pytest.raises(OlderState):
            close_month("2026-01-01", AT)
        assert JournalEntry.objects.count() == 1
    assert chain_head()[0] == 3
    assert older_state() == ""
