"""An audit pack holds everything behind a span or an invoice, and adds itself up again."""

import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.models import QuerySet
from pytest_django import DjangoDbBlocker

from billing_project.kernel.errors import Conflict, Invalid, NotAllowed, NotFound
from billing_project.kernel.models import AuditEntry, User
from revrec import pack_verifier
from revrec.models import AuditPack, PackState
from revrec.services import pack_files, packs
from revrec.services.packs import (
    Wish,
    ask_for_pack,
    make_pack,
    make_waiting_packs,
    path_of,
    take_file,
)
from tests.console.backoffice import (
    action_url,
    client_of,
    page_of,
    person,
    send,
    told,
    url_above_list,
)
from tests.console.chain import CLOSED_AT, Chain, recognise, run_chain, settle
from tests.invoicing.builders import DAY, END, START
from tests.invoicing.test_api import Api
from tests.worlds import standing

pytestmark = pytest.mark.django_db

MONTH = Wish(START, END + 2 * DAY)
Rows = list[dict[str, str]]


def _world() -> Chain:
    chain = run_chain("beta")
    settle(chain)
    recognise(chain.shop, chain.subscription, CLOSED_AT)
    return chain


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Chain]:
    with standing(_world, django_db_blocker) as chain:
        yield chain


@pytest.fixture
def chain(made: Chain, db: None, settings: Any, tmp_path: Path) -> Chain:
    settings.PACKS_DIR = tmp_path / "packs"
    settings.BILLING_CLOCK = CLOSED_AT.isoformat()
    return deepcopy(made)


@pytest.fixture(scope="module")
def whole(made: Chain, django_db_blocker: DjangoDbBlocker, tmp_path_factory: Any) -> Path:
    """Return a pack of the whole month, made once."""
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("django.conf.settings.PACKS_DIR", tmp_path_factory.mktemp("packs"))
        pack = _ask(made, MONTH, "whole")
        make_pack(pack=pack, now=_now)
        return path_of(pack)


def _now() -> datetime:
    return CLOSED_AT


def _ask(chain: Chain, wish: Wish, key: str = "k", by: User | None = None) -> AuditPack:
    asker = by or chain.shop.worker
    return ask_for_pack(wish=wish, reason="sample of the year", key=key, by=asker, at=CLOSED_AT)


def _others() -> QuerySet[AuditPack]:
    """Return the packs besides the one of the whole month."""
    return AuditPack.objects.exclude(source_key="whole")


def _verified(path: Path) -> tuple[int, str]:
    out = io.StringIO()
    return pack_verifier.verify(str(path), out), out.getvalue()


def _rows(path: Path, name: str) -> Rows:
    with zipfile.ZipFile(path) as zipped:
        return list(csv.DictReader(io.StringIO(zipped.read(f"{name}.csv").decode(), newline="")))


def test_a_pack_adds_up_from_events_to_the_journal(whole: Path) -> None:
    faults, said = _verified(whole)

    assert (faults, "Everything adds up." in said) == (0, True), said
    counts = {
        line[6:].rsplit(": ", 1)[0]: line.rsplit(": ", 1)[1] for line in said.splitlines()[2:-1]
    }
    assert min(int(count.split(";")[0]) for count in counts.values()) > 0, counts
    assert {row["customer"] for row in _rows(whole, "events")} == {"acme", "beta"}


def test_the_verifier_in_the_pack_needs_nothing_but_python(whole: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-S", "-E", str(whole)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.endswith("Everything adds up.\n")


def test_every_column_has_its_meaning_and_every_file_its_place(whole: Path) -> None:
    meanings = {(row["file"], row["column"]): row["meaning"] for row in _rows(whole, "fields")}

    with zipfile.ZipFile(whole) as zipped:
        names = [name for name in zipped.namelist() if name.endswith(".csv")]
        for name in set(names) - {"fields.csv"}:
            header = zipped.read(name).decode().splitlines()[0].split(",")
            assert [meanings[name, column] for column in header]
        listed = json.loads(zipped.read("manifest.json"))["files"]
        assert set(listed) == set(zipped.namelist()) - {"manifest.json"}
        assert any(name.startswith("documents/INV-") for name in listed)
        assert any(name.startswith("documents/CN-") for name in listed)


def _edited(path: Path, target: Path, name: str, edit: Callable[[Rows], object]) -> Path:
    """Copy a pack with one file edited, and a manifest that agrees with the edit."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        manifest = json.loads(old.read("manifest.json"))
        for member in set(old.namelist()) - {"manifest.json"}:
            content = old.read(member)
            if member == f"{name}.csv":
                content = _edit(content, edit)
                listed = manifest["files"][member]
                listed["sha256"] = hashlib.sha256(content).hexdigest()
                listed["bytes"] = len(content)
                listed["rows"] = len(_read(content))
            new.writestr(member, content)
        new.writestr("manifest.json", json.dumps(manifest))
    return target


def _read(content: bytes) -> Rows:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def _edit(content: bytes, edit: Callable[[Rows], object]) -> bytes:
    rows = _read(content)
    edit(rows)
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _set(
    column: str, value: str, where: Callable[[dict[str, str]], bool] = lambda row: True
) -> Any:
    def edit(rows: Rows) -> None:
        next(row for row in rows if where(row))[column] = value

    return edit


@pytest.mark.parametrize(
    ("name", "edit", "says"),
    [
        ("events", _set("counted_properties", '{"tokens": 61}'), "than its corrections say"),
        ("events", _set("properties", '{"tokens": 61}'), "than its corrections say"),
        ("events", _set("is_cancelled", "true"), "against what its corrections say"),
        ("events", _set("event_name", "other"), "which the event does not say"),
        ("events", _set("timestamp", "2026-01-09T00:00:00Z"), "which the event does not say"),
        ("events", _set("workspace", "other"), "which the event does not say"),
        ("events", lambda rows: rows.append({**rows[0], "identifier": "x"}), "is not read"),
        ("meters", _set("value_property", "other"), "which the event does not say"),
        ("readings", lambda rows: rows.append(dict(rows[0])), "is read twice"),
        ("events", lambda rows: rows.append(dict(rows[0])), "is there twice"),
        ("events", lambda rows: rows.pop(0), "no such event that counts"),
        ("readings", lambda rows: rows.pop(0), "events, not"),
        ("windows", _set("quantity", "61"), "comes to"),
        ("ratings", lambda rows: rows.pop(0), "is not in the pack"),
        ("ratings", _set("overage", "7"), "is not"),
        ("ratings", _set("tiers", '[{"quantity": "1"}]'), "parts come to"),
        ("line_usage", lambda rows: rows.append(dict(rows[0])), "is claimed twice"),
        ("line_usage", lambda rows: rows.pop(0), "its usage comes to"),
        ("payments", _set("amount_minor", "1"), "payments come to"),
        ("payments", _set("invoice", "INV-000002"), "payments come to"),
        ("ledger", lambda rows: rows.pop(), "its ledger"),
        ("grants", _set("remaining", "1"), "its ledger"),
        ("invoices", _set("total_minor", "1"), "its lines come to"),
        ("invoices", _set("open_minor", "1"), "what became of it comes to"),
        ("invoice_lines", _set("amount_minor", "1"), "its lines come to"),
        ("invoice_lines", _set("quantity", "1", lambda row: row["kind"] == "overage"), "its usage"),
        ("credit_notes", _set("amount_minor", "1"), "settled"),
        ("journal", _set("amount_minor", "1"), "is off by"),
        ("journal", _set("account", "9999"), "otherwise than it was sealed"),
        ("journal", _set("effective_on", "2026-01-01"), "otherwise than it was sealed"),
        ("journal", lambda rows: rows.append({**rows[0], "entry": "99999999"}), "was never sealed"),
        ("policies", _set("content", "{}"), "another content than its hash"),
        ("policies", _set("title", "x"), "is not what ann.shop approved"),
        ("approvals", _set("sha256", "0"), "is not what ann.shop approved"),
        ("approvals", _set("by", "mia.shop"), "approved by who proposed it"),
        ("approvals", lambda rows: rows.pop(), "lacks an approval of finance"),
    ],
)  # fmt: skip
def test_whatever_was_changed_is_found_though_its_hash_was_made_to_agree(
    whole: Path, tmp_path: Path, name: str, edit: Callable[[Rows], object], says: str
) -> None:
    faults, said = _verified(_edited(whole, tmp_path / "edited.zip", name, edit))

    assert faults > 0
    assert says in said, said


def test_an_entry_that_was_sealed_otherwise_is_found(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "edited.zip"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(target, "w") as new:
        manifest = json.loads(old.read("manifest.json"))
        for member in set(old.namelist()) - {"manifest.json"}:
            content = old.read(member)
            if member == "journal_sealed.jsonl":
                content = content.replace(b"INV-000001", b"INV-000009")
                manifest["files"][member]["sha256"] = hashlib.sha256(content).hexdigest()
            new.writestr(member, content)
        new.writestr("manifest.json", json.dumps(manifest))

    assert "is not what was sealed" in _verified(target)[1]


def test_a_file_that_was_changed_alone_is_found(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "edited.zip"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member) + (b" " if member == "README.txt" else b""))

    assert "README.txt is not the file that was packed" in _verified(target)[1]


def test_a_pack_of_one_customer_holds_no_other(chain: Chain) -> None:
    pack = _ask(chain, Wish(MONTH.start, MONTH.end, chain.overage.customer))

    assert make_pack(pack=pack, now=_now) == 1

    path = path_of(pack)
    assert _verified(path)[0] == 0
    for name in ("customers", "events", "windows", "grants", "ledger", "invoices"):
        assert {row["customer"] for row in _rows(path, name)} == {"acme"}, name
    pack.refresh_from_db()
    assert pack.content_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (pack.state, pack.files_done) == (PackState.DONE, pack.file_count)


def test_a_paid_invoice_comes_with_its_cash(chain: Chain) -> None:
    fee = chain.payment.invoice
    pack = _ask(chain, Wish(invoices=(str(fee.number),)))
    make_pack(pack=pack, now=_now)

    path = path_of(pack)
    assert _verified(path)[0] == 0, _verified(path)[1]
    kinds = {row["kind"] for row in _rows(path, "journal")}
    assert {"payment_recorded", "credit_note_issued", "refund_recorded"} <= kinds, kinds
    assert {row["kind"] for row in _rows(path, "settlements")} == {"refund"}
    told = {(row["source_type"], row["source"]) for row in _rows(path, "journal_sources")}
    assert ("payment", _rows(path, "payments")[0]["id"]) in told


def test_a_pack_of_an_invoice_goes_down_to_its_events_and_up_to_the_journal(chain: Chain) -> None:
    pack = _ask(chain, Wish(invoices=(str(chain.overage.number),)))
    make_pack(pack=pack, now=_now)

    path = path_of(pack)
    assert _verified(path)[0] == 0, _verified(path)[1]
    assert [row["invoice"] for row in _rows(path, "invoices")] == [chain.overage.number]
    assert {row["identifier"] for row in _rows(path, "events")} == {"req-1", "req-2"}
    kinds = {row["kind"] for row in _rows(path, "journal")}
    assert {"invoice_finalized", "overage_used"} <= kinds, kinds
    assert {row["kind"] for row in _rows(path, "policies")} >= {"rate_card", "plan"}
    assert _rows(path, "credit_notes")[0]["note"] == chain.note.number


@pytest.mark.parametrize(
    ("wish", "refusal"),
    [
        (Wish(), Invalid),
        (Wish(start=START), Invalid),
        (Wish(END, START), Invalid),
        (Wish(START, END + timedelta(minutes=1)), Invalid),
        (Wish(START, END, None, ("INV-000001",)), Invalid),
        (Wish(invoices=("INV-999999",)), NotFound),
        (Wish(invoices=("INV-000001",) * 1_001), Invalid),
    ],
)
def test_a_wish_that_means_nothing_is_refused(
    chain: Chain, wish: Wish, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        _ask(chain, wish)

    assert not _others().exists()


def test_one_key_is_one_pack_and_support_asks_for_none(chain: Chain) -> None:
    assert _ask(chain, MONTH) == _ask(chain, MONTH)
    with pytest.raises(NotAllowed):
        _ask(chain, MONTH, "other", by=person("support"))


def test_the_worker_makes_what_waits_and_what_was_left_half_made(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = _ask(chain, MONTH)
    with monkeypatch.context() as broken:
        broken.setattr(pack_files, "_add_words", _die)
        assert make_waiting_packs(now=_now) == 0
    pack.refresh_from_db()
    assert (pack.state, path_of(pack).exists()) == (PackState.RUNNING, False)

    assert [make_waiting_packs(now=_now), make_waiting_packs(now=_now)] == [1, 0]
    assert _verified(path_of(pack))[0] == 0


def test_what_never_gets_done_is_given_up(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = _ask(chain, MONTH)
    monkeypatch.setattr(packs, "write_pack", _die)
    for _ in range(packs.MOST_ATTEMPTS + 1):
        make_waiting_packs(now=_now)

    pack.refresh_from_db()
    assert (pack.state, "never finished" in pack.fault) == (PackState.FAILED, True)


def test_a_pack_that_somebody_makes_is_left_to_them(chain: Chain) -> None:
    pack = _ask(chain, MONTH)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"audit_pack:{pack.pk}"]
            )
        assert make_waiting_packs(now=_now) == 0
    finally:
        other.close()
    assert make_waiting_packs(now=_now) == 1


def test_a_file_that_was_exchanged_is_not_handed_out(chain: Chain) -> None:
    pack = _ask(chain, MONTH)
    make_waiting_packs(now=_now)
    path_of(pack).write_bytes(b"other")

    pack.refresh_from_db()
    with pytest.raises(Conflict, match="not the one that was made"):
        take_file(pack=pack, by=chain.shop.worker, at=CLOSED_AT)


def _die(*_: object) -> None:
    raise RuntimeError("killed")


def test_what_cannot_be_made_says_why(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Conflict("2026-01 is archived: restore it first")

    monkeypatch.setattr(pack_files, "_add_words", refuse)
    pack = _ask(chain, MONTH)

    assert make_waiting_packs(now=_now) == 0
    pack.refresh_from_db()
    assert (pack.state, pack.fault) == ("failed", "2026-01 is archived: restore it first")
    assert list(path_of(pack).parent.iterdir()) == []


@pytest.mark.parametrize("change", ["UPDATE audit_pack SET reason = 'x'", "DELETE FROM audit_pack"])
def test_what_was_asked_for_is_not_edited(chain: Chain, change: str) -> None:
    _ask(chain, MONTH)

    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute(change)


def test_an_auditor_asks_watches_and_fetches_and_that_is_recorded(chain: Chain) -> None:
    client = client_of(person("auditor"))

    answer = send(
        client, url_above_list(AuditPack, "ask"), customer="acme", first="2026-01-01",
        last="2026-02-28", reason="sample of the year",
    )  # fmt: skip

    assert "shows how far it is" in told(answer)
    pack = _others().get()
    waiting = client.get(page_of(pack))
    download = action_url(pack, "download")
    assert waiting["Refresh"]
    assert download not in waiting.content.decode()
    assert "this pack is waiting" in told(client.get(download, follow=True))
    make_waiting_packs(now=_now)
    done = client.get(page_of(pack))
    assert "Refresh" not in done
    assert download in done.content.decode()
    fetched: Any = client.get(download)
    assert b"".join(fetched.streaming_content) == path_of(pack).read_bytes()
    assert AuditEntry.objects.filter(action="download_audit_pack").count() == 1
    path_of(pack).unlink()
    assert "removed here" in told(client.get(download, follow=True))


def test_the_api_asks_once_and_hands_out_the_file(chain: Chain) -> None:
    api = Api("admin")
    body = {"invoices": [chain.overage.number], "reason": "sample"}

    first, again = (api.post("audit_packs", body, key="once") for _ in range(2))

    assert (first.status_code, first.json()) == (202, again.json())
    pk = first.json()["id"]
    assert api.get(f"audit_packs/{pk}/file").json()["code"] == "pack_not_done"
    make_waiting_packs(now=_now)
    shown = api.get(f"audit_packs/{pk}").json()
    fetched = b"".join(api.get(f"audit_packs/{pk}/file").streaming_content)
    assert (shown["state"], shown["content_sha256"]) == (
        "done", hashlib.sha256(fetched).hexdigest(),
    )  # fmt: skip
    assert api.post("audit_packs", {"reason": "x"}, key="bad").status_code == 422
    assert api.get("audit_packs/999/file").status_code == 404


def test_an_export_makes_a_small_pack_while_one_waits(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Api("admin")
    span = f"start={MONTH.start:%Y-%m-%d}T00:00:00Z&end={MONTH.end:%Y-%m-%d}T00:00:00Z"

    answer = api.get(f"exports/audit_pack?{span}&customer=acme")

    target = tmp_path / "export.zip"
    target.write_bytes(b"".join(answer.streaming_content))
    assert (answer.status_code, _verified(target)[0]) == (200, 0)
    assert {row["customer"] for row in _rows(target, "events")} == {"acme"}
    assert AuditEntry.objects.filter(action="download_audit_pack").count() == 1
    assert api.get("exports/audit_pack?start=2026-11-01T00:00:00Z").status_code == 422
    halved = api.get("exports/audit_pack?start=2026-11-01T12:00:00Z&end=2026-11-02T00:00:00Z")
    assert "whole days" in halved.json()["detail"]
    monkeypatch.setattr("revrec.api.packs.MOST_EVENTS_AT_ONCE", 1)
    assert api.get(f"exports/audit_pack?{span}").json()["code"] == "pack_too_large"


def test_the_shell_makes_a_pack_at_once(chain: Chain, tmp_path: Path) -> None:
    out, target = io.StringIO(), tmp_path / "mine.zip"
    call_command(
        "audit_pack", month=f"{START:%Y-%m}", customer="acme", output=str(target), stdout=out
    )

    assert _verified(target)[0] == 0
    assert hashlib.sha256(target.read_bytes()).hexdigest() in out.getvalue()
    with pytest.raises(CommandError, match="YYYY-MM"):
        call_command("audit_pack", month="2026-13")
    with pytest.raises(CommandError, match="name a start and an end"):
        call_command("audit_pack")
