"""A seal says what the journal was; nobody without the key can make it say anything else."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.errors import Conflict
from billing_project.kernel.users import worker_user
from invoicing.models import CustomerEntity, LegalEntity
from metering.services.customers import create_customer
from revrec.chain import GENESIS, origin
from revrec.links import Head
from revrec.models import AccountingPeriod, JournalEntry, LedgerSeal, PeriodStatus
from revrec.posting import About, Account, EntryKind, pair
from revrec.sealing import (
    BadSeal,
    Contents,
    CurrencyTotal,
    chains_of,
    file_text,
    head_of,
    manifest_text,
    new_key,
    opened,
    public_key_of,
    public_pem,
    sign,
)
from revrec.selectors.journal import chain_head, sealed_sha256
from revrec.services.journal import EntryDraft, post_entries
from revrec.services.periods import ensure_period
from revrec.services.sealing import make_sealing_key, seal_file, seal_period
from tests.revrec.builders import close_month

AT = datetime(2026, 2, 10, 9, tzinfo=UTC)
KEY = new_key()
MANIFEST = manifest_text(
    entity="Œuvre, Inc.",
    period=(date(2026, 1, 1), date(2026, 2, 1)),
    trial_balance_sha256="b" * 64,
    chains=[Contents("main", Head(7, "a" * 64), 14, [CurrencyTotal("USD", 10**18, 10**18)])],
    at=AT,
)
SEAL = file_text(MANIFEST, sign(MANIFEST, KEY), public_key_of(KEY))


def test_a_seal_opens_with_the_key_that_signed_it() -> None:
    manifest = opened(SEAL, [public_key_of(new_key()), public_key_of(public_pem(KEY))])

    assert canonical_json(manifest) == MANIFEST
    [(code, chain)] = chains_of(manifest, "main").items()
    assert (code, head_of(chain)) == ("main", Head(7, "a" * 64))
    assert chain["totals_minor"] == {"USD": {"debits": str(10**18), "credits": str(10**18)}}


@pytest.mark.parametrize(
    "changed",
    [
        SEAL.replace('"position": 7', '"position": 6'),
        SEAL.replace("Œuvre", "Oeuvre"),
        SEAL.replace('"posting_count": 14', '"posting_count": 14, "more": 1'),
        SEAL.replace("ledger-seal-2", "ledger-seal-1"),
        SEAL.replace("ledger-seal-2", "ledger-seal-3"),
        file_text(MANIFEST, sign(MANIFEST, new_key()), public_key_of(KEY)),
        file_text(MANIFEST, "not base64", public_key_of(KEY)),
        "{}", "[]", "not json", '{"manifest": 1, "signature": ""}',
    ],
)  # fmt: skip
def test_what_was_changed_or_is_no_seal_does_not_open(changed: str) -> None:
    assert changed != SEAL
    with pytest.raises(BadSeal):
        opened(changed, [public_key_of(KEY)])


def test_who_brings_no_trusted_key_trusts_nothing() -> None:
    """The file names its own key; that proves nothing."""
    with pytest.raises(BadSeal):
        opened(SEAL, [])


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"])
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(BadSeal):
        public_key_of(pem)


def test_a_signature_holds_for_tools_that_are_not_ours(tmp_path: Path) -> None:
    """As docs/accounting.md tells an auditor: the manifest's canonical JSON, by OpenSSL."""
    (tmp_path / "manifest").write_text(canonical_json(json.loads(SEAL)["manifest"]))
    (tmp_path / "key.pem").write_bytes(public_pem(KEY))
    signature = json.loads(SEAL)["signature"]
    subprocess.run(
        ["openssl", "base64", "-d", "-A", "-out", "sig"],
        cwd=tmp_path, input=signature.encode(), check=True,
    )  # fmt: skip
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin"]

    subprocess.run([*verify, "-in", "manifest", "-sigfile", "sig"], cwd=tmp_path, check=True)


@pytest.fixture
def post(db: None) -> Callable[[int], None]:
    """Return a way to post one fee after another; no document of ours is behind them."""
    by = worker_user()
    customer = create_customer(external_id="acme", name="Acme", currency="USD", by=by, at=AT)

    def make(number: int) -> None:
        draft = EntryDraft(
            wanted_on=date(2026, 1, 15),
            kind=EntryKind.PAYMENT_RECORDED,
            description=f"Payment {number}",
            customer_id=customer.pk,
            lines=pair(Account.PROCESSOR_FEES, Account.CASH, 500 + number, About("USD")),
            source_key=f"payment:{number}:recorded",
        )
        post_entries(drafts=[draft], by=by, at=AT)

    return make


@pytest.fixture
def anchor(post: Callable[[int], None], tmp_path: Path) -> Path:
    """Close January over three entries, post a fourth after it; return the seal's file."""
    for number in (1, 2, 3):
        post(number)
    close_month("2026-01-01", AT)
    name, text = seal_file(LedgerSeal.objects.get())
    (tmp_path / name).write_text(text)
    post(4)
    return tmp_path / name


def _verify(anchor: Path, *more: str) -> str:
    """Run the command; return what it printed, with "exit 1" at the end if it failed."""
    out = StringIO()
    try:
        call_command("verify_ledger", "--anchor", str(anchor), *more, stdout=out)
    except SystemExit as stop:
        return out.getvalue() + f"exit {stop.code}"
    return out.getvalue()


def _run(*statements: str) -> None:
    """Execute statements with every guard off."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in (
            "journal_entry", "posting", "entry_source", "ledger_seal", "customer_entity",
            "legal_entity",
        ):  # fmt: skip
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            cursor.execute(statement)


def test_a_close_seals_the_head_that_it_leaves(anchor: Path) -> None:
    seal = LedgerSeal.objects.get()
    third = JournalEntry.objects.get(chain_position=3)
    manifest = json.loads(seal.manifest)

    assert (seal.head_position, seal.head_sha256) == (3, third.entry_sha256)
    assert manifest["period"] == {"start_on": "2026-01-01", "end_on": "2026-02-01"}
    chain = manifest["chains"]["main"]
    assert chain["head"] == {"position": 3, "sha256": third.entry_sha256}
    assert chain["totals_minor"] == {"USD": {"debits": "1506", "credits": "1506"}}
    assert (chain["entry_count"], chain["posting_count"]) == (3, 6)
    assert manifest["trial_balance_sha256"] == seal.period.trial_balance_sha256


def test_a_journal_that_went_on_stands_to_its_anchor(anchor: Path) -> None:
    assert "head 3 stands" in _verify(anchor)


def _cut(position: int) -> tuple[str, str]:
    gone = f"SELECT id FROM journal_entry WHERE chain_position > {position}"
    return (
        f"DELETE FROM posting WHERE entry_id IN ({gone})",
        f"DELETE FROM journal_entry WHERE id IN ({gone})",
    )


def test_a_state_older_than_the_seal_is_found(anchor: Path) -> None:
    """The seal's own row is gone too: as a restore of an older backup leaves it."""
    _run(*_cut(2), "DELETE FROM ledger_seal")

    found = _verify(anchor)

    assert "the journal ends at position 2, before the sealed head 3" in found
    assert "a state older than the seal was restored; missing: 3" in found
    assert found.endswith("exit 1")


def test_a_seal_of_before_each_entity_had_a_chain_stands_or_tells(
    anchor: Path, settings: LazySettings, tmp_path: Path
) -> None:
    """It says one head, and that is the main entity's."""
    manifest = json.loads(anchor.read_text())["manifest"]
    manifest |= {"format": "ledger-seal-1", **manifest.pop("chains")["main"]}
    key, text = Path(settings.SEALING_KEY_FILE).read_bytes(), canonical_json(manifest)
    old = tmp_path / "old" / "ledger.seal.json"
    old.parent.mkdir()
    old.write_text(file_text(text, sign(text, key), public_key_of(key)))
    stored = LedgerSeal.objects.get()
    _run(
        f"UPDATE ledger_seal SET manifest = '{text.replace(chr(39), chr(39) * 2)}',"
        f" signature = '{sign(text, key)}' WHERE id = {stored.pk}"
    )

    assert "head 3 stands" in _verify(old)
    assert "head 3 stands" in _verify(old.parent)  # A folder stands for what is in it.
    _run(*_cut(2))
    assert "before the sealed head 3" in _verify(old)
    assert f"ledger_seal:{stored.pk}: the sealed head 3 is not in" in _verify(old)


def test_a_chain_that_is_gone_with_its_entity_is_missed(
    post: Callable[[int], None], tmp_path: Path
) -> None:
    by, name = worker_user(), "Beta"
    customer = create_customer(external_id="beta", name=name, currency="USD", by=by, at=AT)
    entity = LegalEntity.objects.create(code="de", series_prefix="DE", created_at=AT)
    CustomerEntity.objects.create(customer=customer, entity=entity, recorded_by=by, recorded_at=AT)
    post(1)
    lines = pair(Account.PROCESSOR_FEES, Account.CASH, 700, About("USD"))
    draft = EntryDraft(
        wanted_on=date(2026, 1, 15), kind=EntryKind.PAYMENT_RECORDED, description="x",
        customer_id=customer.pk, lines=lines, source_key="x",
    )  # fmt: skip
    [theirs] = post_entries(drafts=[draft], by=by, at=AT)
    close_month("2026-01-01", AT)
    file, text = seal_file(LedgerSeal.objects.get())
    (tmp_path / file).write_text(text)

    assert (theirs.chain_position, theirs.previous_sha256) == (1, origin("de"))
    assert "head 1 stands in the chain of de" in _verify(tmp_path / file)
    _run(
        f"DELETE FROM posting WHERE entry_id = {theirs.pk}",
        f"DELETE FROM journal_entry WHERE id = {theirs.pk}",
        "DELETE FROM ledger_seal", f"DELETE FROM customer_entity WHERE entity_id = {entity.pk}",
        f"DELETE FROM legal_entity WHERE id = {entity.pk}",
    )  # fmt: skip
    assert "chain of de: the journal ends at position 0, before the sealed head 1" in _verify(
        tmp_path / file
    )


def test_postgresql_holds_a_customer_s_entries_in_their_entity_s_chain(
    post: Callable[[int], None],
) -> None:
    post(1)
    by = worker_user()
    entity = LegalEntity.objects.create(code="de", series_prefix="DE", created_at=AT)
    entry = JournalEntry.objects.get()
    assert entry.customer is not None

    with pytest.raises(DatabaseError, match="another legal entity bills"), transaction.atomic():
        JournalEntry.objects.create(
            period=entry.period, effective_on=entry.effective_on, kind="x", description="x",
            customer=entry.customer, posting_count=2, source_key="x", recorded_at=AT,
            recorded_by=by, entity=entity, chain_position=1, previous_sha256="x", entry_sha256="y",
        )  # fmt: skip
    with pytest.raises(DatabaseError, match="books of another legal entity"), transaction.atomic():
        CustomerEntity.objects.create(
            customer=entry.customer, entity=entity, recorded_by=by, recorded_at=AT
        )


def test_a_chain_written_anew_from_its_first_entry_is_found(anchor: Path) -> None:
    """Every hash is right again, and only the anchor tells."""
    _run("UPDATE posting SET amount_minor = amount_minor * 2", "DELETE FROM ledger_seal")
    previous = GENESIS
    for entry in JournalEntry.objects.order_by("chain_position"):
        postings = entry.postings.order_by("position")
        entry.previous_sha256 = previous
        entry.entry_sha256 = previous = sealed_sha256(previous, entry, postings)
        entry.save()

    found = _verify(anchor)

    assert "the journal was written anew" in found
    assert "The first bad entry" not in found
    assert found.endswith("exit 1")


def test_a_stored_seal_that_was_changed_is_found(anchor: Path) -> None:
    _run("UPDATE ledger_seal SET manifest = replace(manifest, '1506', '1507')")

    assert "the signature does not belong to the manifest" in _verify(anchor)


def test_an_anchor_under_a_strange_key_proves_nothing(anchor: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.pem"
    strange.write_bytes(public_pem(new_key()))

    with pytest.raises(CommandError, match="not by a trusted key"):
        _verify(anchor, "--public-key", str(strange))
    with pytest.raises(CommandError, match="no anchor"):
        _verify(tmp_path / "missing.json")


def test_no_month_closes_without_a_key(
    post: Callable[[int], None], settings: LazySettings, tmp_path: Path
) -> None:
    post(1)
    period = ensure_period(date(2026, 1, 1))
    settings.SEALING_KEY_FILE = str(tmp_path / "none.pem")

    with pytest.raises(Conflict) as refused:
        close_month("2026-01-01", AT)

    assert refused.value.code == "no_sealing_key"
    assert AccountingPeriod.objects.get(pk=period.pk).status == PeriodStatus.SOFT


def test_a_month_is_sealed_once_and_only_when_closed(anchor: Path) -> None:
    january, february = LedgerSeal.objects.get().period, ensure_period(date(2026, 2, 1))
    for period in (january, february):
        with pytest.raises(Conflict):
            seal_period(period=period, by=worker_user(), at=AT)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_seal SET entity = 'x'",
        "DELETE FROM ledger_seal",
        "INSERT INTO ledger_seal (period_id, entity, head_position, head_sha256, manifest,"
        " signature, public_key, sealed_at, sealed_by_id) SELECT 0, entity, head_position,"
        " head_sha256, manifest, signature, public_key, sealed_at, sealed_by_id FROM ledger_seal",
    ],
)
def test_the_database_keeps_seals_and_takes_none_of_an_older_head(
    anchor: Path, statement: str
) -> None:
    assert chain_head()[0] == 4
    with (
        pytest.raises(DatabaseError, match=r"append-only|a seal names the last entry"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_a_key_is_made_once_and_for_its_owner_alone(settings: LazySettings, tmp_path: Path) -> None:
    settings.SEALING_KEY_FILE = str(tmp_path / "deep" / "key.pem")

    public = make_sealing_key()

    private = tmp_path / "deep" / "key.pem"
    assert private.stat().st_mode & 0o077 == 0
    assert public_key_of(public.read_bytes()) == public_key_of(private.read_bytes())
    with pytest.raises(Conflict):
        make_sealing_key()


@pytest.mark.django_db(transaction=True)
def test_the_seal_leaves_the_house_with_the_close(settings: LazySettings, tmp_path: Path) -> None:
    settings.SEALS_DIR = str(tmp_path)
    close_month("2026-01-01", AT)

    [file] = tmp_path.glob("ledger-2026-01-*.seal.json")
    assert "head 0 stands" in _verify(file)
