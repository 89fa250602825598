"""A migration pack carries an installation whole, and what is not whole is refused."""

import hashlib
import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection, transaction
from pytest_django import DjangoDbBlocker

from billing_project.console.portable.loading import BadPack, load_pack
from billing_project.console.portable.packing import write_migration_pack
from billing_project.console.portable.state import state_hash
from billing_project.console.portable.tables import carried_tables
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import ApiKey, User
from metering.models import Customer, MeterEvent
from revrec.models import JournalEntry
from tests.console.chain import CLOSED_AT, Chain, run_chain, settle
from tests.console.moving import empty
from tests.invoicing.builders import customer_of, use
from tests.worlds import standing

pytestmark = pytest.mark.django_db


def _world() -> Chain:
    chain = run_chain()
    settle(chain)
    User.objects.filter(username="mia.shop").update(password="md5$salt$0123456789abcdef")
    create_api_key(name="app", scopes=["events:write"], at=CLOSED_AT)
    return chain


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Chain]:
    with standing(_world, django_db_blocker) as chain:
        yield chain


@pytest.fixture
def chain(made: Chain, db: None) -> Chain:
    return made


@pytest.fixture(scope="module")
def packed(
    made: Chain, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    path = tmp_path_factory.mktemp("pack") / "installation.zip"
    with django_db_blocker.unblock():
        write_migration_pack(path, "jsonl", CLOSED_AT)
    return path.read_bytes()


@pytest.fixture
def pack(chain: Chain, packed: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "installation.zip"
    path.write_bytes(packed)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_empty_installation_becomes_the_one_that_was_packed(
    chain: Chain, tmp_path: Path, kind: str
) -> None:
    before, path = state_hash(), tmp_path / f"installation.{kind}.zip"
    events = set(MeterEvent.objects.values_list("pk", "identifier"))
    entries = list(JournalEntry.objects.order_by("pk").values_list("pk", "entry_sha256"))
    write_migration_pack(path, kind, CLOSED_AT)
    empty()
    assert not MeterEvent.objects.exists()

    load_pack(path)

    assert state_hash() == before
    assert set(MeterEvent.objects.values_list("pk", "identifier")) == events
    stands = JournalEntry.objects.order_by("pk").values_list("pk", "entry_sha256")
    assert list(stands) == entries
    assert User.objects.get(username="ann.shop").groups.get().name == "finance_approver"


def test_what_arrived_holds_and_goes_on_and_lets_nobody_in(chain: Chain, pack: Path) -> None:
    with ZipFile(pack) as zipped:
        said = b"".join(zipped.read(name) for name in zipped.namelist())
    assert b"0123456789abcdef" not in said
    assert ApiKey.objects.get(name="app").secret_sha256.encode() not in said
    empty()
    load_pack(pack)
    key = ApiKey.objects.get(name="app")
    assert key.revoked_at == CLOSED_AT
    assert key.secret_sha256 == "0" * 64
    assert not User.objects.get(username="mia.shop").has_usable_password()
    assert [result.title for result in run_checks() if result.findings] == []
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE posting SET amount_minor = amount_minor + 1")
    last = max(Customer.objects.values_list("pk", flat=True))
    assert customer_of(chain.shop, "newcomer").pk > last
    use(chain.shop, 5, CLOSED_AT, "req-after")
    assert MeterEvent.objects.filter(identifier="req-after").exists()


def test_an_installation_that_holds_something_is_refused(chain: Chain, pack: Path) -> None:
    with pytest.raises(Conflict, match=r"not empty: kernel_user, .* and others"):
        load_pack(pack)


def test_a_file_that_was_changed_is_refused(chain: Chain, pack: Path) -> None:
    name = "tables/usage_window.jsonl"
    _rewrite(pack, {name: _more_quantity})
    empty()
    with pytest.raises(BadPack, match=r"usage_window\.jsonl is not the file that was packed"):
        load_pack(pack)
    assert not Customer.objects.exists()


def test_a_change_with_a_manifest_to_match_has_another_state(chain: Chain, pack: Path) -> None:
    name = "tables/usage_window.jsonl"

    def agree(manifest: dict[str, Any]) -> None:
        content = _more_quantity(ZipFile(pack).read(name))
        manifest["files"][name]["sha256"] = hashlib.sha256(content).hexdigest()

    _rewrite(pack, {name: _more_quantity}, agree)
    empty()
    with pytest.raises(BadPack, match="the state hash differs in windows"):
        load_pack(pack)


def test_a_journal_that_was_written_anew_is_found_by_its_chain(chain: Chain, pack: Path) -> None:
    name = "tables/journal_entry.jsonl"

    def other(content: bytes) -> bytes:
        return content.replace(b'"Invoice INV', b'"invoice INV')

    def agree(manifest: dict[str, Any]) -> None:
        content = other(ZipFile(pack).read(name))
        manifest["files"][name]["sha256"] = hashlib.sha256(content).hexdigest()

    _rewrite(pack, {name: other}, agree)
    empty()
    with pytest.raises(BadPack, match="chain does not hold: journal_entry"):
        load_pack(pack)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("kernel_user", "password", "md5$salt$0123456789abcdef"),
        ("api_key", "revoked_at", None),
        ("api_key", "secret_sha256", "1" * 64),
    ],
)
def test_a_pack_that_was_written_to_let_somebody_in_is_refused(
    chain: Chain, pack: Path, table: str, column: str, value: str | None
) -> None:
    name = f"tables/{table}.jsonl"

    def opening(content: bytes) -> bytes:
        first, _, rest = content.partition(b"\n")
        return json.dumps({**json.loads(first), column: value}).encode() + b"\n" + rest

    def agree(manifest: dict[str, Any]) -> None:
        content = opening(ZipFile(pack).read(name))
        manifest["files"][name]["sha256"] = hashlib.sha256(content).hexdigest()

    _rewrite(pack, {name: opening}, agree)
    empty()
    with pytest.raises(BadPack, match=f"tables/{table}: a {column} opens something"):
        load_pack(pack)
    assert not User.objects.exists()


@pytest.mark.parametrize("part", ["0.5", "0.99"])
def test_a_cut_file_is_refused(chain: Chain, pack: Path, part: str) -> None:
    content = pack.read_bytes()
    pack.write_bytes(content[: int(len(content) * float(part))])
    with pytest.raises(BadPack, match="is cut or is no migration pack"):
        load_pack(pack)


def test_a_pack_without_one_of_its_files_is_refused(chain: Chain, pack: Path) -> None:
    _rewrite(pack, {"tables/posting.jsonl": lambda content: None})
    with pytest.raises(BadPack, match=r"tables/posting\.jsonl is missing"):
        load_pack(pack)


def test_a_newer_release_is_named_by_what_is_missing_here(chain: Chain, pack: Path) -> None:
    _rewrite(pack, {}, lambda manifest: manifest["migrations"].append("credits.9999_more"))
    with pytest.raises(Conflict, match=r"lacks credits\.9999_more") as caught:
        load_pack(pack)
    assert caught.value.code == "newer_schema"


def test_an_older_release_is_named_by_what_it_lacks(chain: Chain, pack: Path) -> None:
    _rewrite(pack, {}, lambda manifest: manifest["migrations"].remove("kernel.0002_guards"))
    with pytest.raises(Conflict, match=r"without kernel.0002_guards"):
        load_pack(pack)


def test_another_format_is_refused(chain: Chain, pack: Path) -> None:
    _rewrite(pack, {}, lambda manifest: manifest.update(pack="billing-migration-2"))
    with pytest.raises(BadPack, match="this release reads billing-migration-1"):
        load_pack(pack)


def test_the_commands_say_what_is_to_be_set_again(chain: Chain, tmp_path: Path) -> None:
    path, out = tmp_path / "all.zip", StringIO()
    call_command("migration_pack", str(path), stdout=out)
    assert f"state  {state_hash().sha256}" in out.getvalue()
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(CommandError, match="not empty"):
        call_command("import_pack", str(path))
    empty()
    out = StringIO()
    call_command("import_pack", str(path), stdout=out)
    assert "API keys: all arrive revoked" in out.getvalue()
    with pytest.raises(CommandError, match="there is no file"):
        call_command("import_pack", str(tmp_path / "none.zip"))


def test_every_column_is_in_the_dictionary(chain: Chain, pack: Path) -> None:
    with ZipFile(pack) as zipped:
        lines = zipped.read("fields.csv").decode().splitlines()
    assert len(lines) == 1 + sum(len(table.columns) for table in carried_tables())
    assert any(
        line.startswith("posting,account_id,") and "ledger_account.code" in line for line in lines
    )


def _more_quantity(content: bytes) -> bytes:
    first, _, rest = content.partition(b"\n")
    row = json.loads(first)
    row["quantity"] = "7" + row["quantity"]
    return json.dumps(row).encode() + b"\n" + rest


def _rewrite(
    pack: Path,
    changes: dict[str, Callable[[bytes], bytes | None]],
    change_manifest: Callable[[dict[str, Any]], object] = lambda manifest: None,
) -> None:
    with ZipFile(pack) as zipped:
        files = {name: zipped.read(name) for name in zipped.namelist()}
    manifest = json.loads(files["manifest.json"])
    change_manifest(manifest)
    files["manifest.json"] = json.dumps(manifest).encode()
    with ZipFile(pack, "w") as zipped:
        for name, content in files.items():
            changed = changes[name](content) if name in changes else content
            if changed is not None:
                zipped.writestr(name, changed)
