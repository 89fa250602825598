"""Stretches of the journal go to another ledger once, in its codes, and never change."""

import csv
import hashlib
import io
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid, NotAllowed
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from metering.models import Customer
from revrec.journal_forms import Detail, Form
from revrec.models import AccountMap, JournalEntry, JournalExport, LedgerAccount
from revrec.selectors.exports import Stretch, file_pieces
from revrec.services.exports import OtherCode, export_journal, map_accounts
from tests.console.backoffice import action_url, client_of, page_of
from tests.revrec.builders import Shop, on, recognise

pytestmark = pytest.mark.django_db
AT = on("2026-03-01")


@pytest.fixture
def customer(shop: Shop) -> Customer:
    customer = shop.subscriber("2026-01-01", fee=3_100, overage="0.01")
    recognise(customer, "2026-01-04")
    return customer


def _export(
    shop: Shop, form: Form = Form.CSV, detail: Detail = Detail.ENTRY, key: str = "one"
) -> JournalExport:
    return export_journal(form=form, detail=detail, currency="USD", key=key, by=shop.maker, at=AT)


def _file(export: JournalExport) -> bytes:
    fresh = JournalExport.objects.get(pk=export.pk)
    return b"".join(file_pieces(Stretch.of(fresh)))


def _rows(export: JournalExport) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(_file(export).decode())))


def _map(shop: Shop, effective_on: str, prefix: str, *left_out: str) -> AccountMap:
    codes = {
        account.pk: OtherCode(f"{prefix}{account.pk}", account.name)
        for account in LedgerAccount.objects.exclude(pk__in=left_out)
    }
    return map_accounts(
        codes=codes, effective_on=date.fromisoformat(effective_on), tax_rate="No VAT",
        reason="new chart", by=shop.maker, at=AT,
    )  # fmt: skip


def test_an_export_holds_every_posting_with_its_totals_and_sha256(
    shop: Shop, customer: Customer
) -> None:
    export = _export(shop)

    rows = _rows(export)
    assert (export.first_position, export.last_position) == (1, JournalEntry.objects.count())
    assert len(rows) == export.line_count == 8  # An invoice and three days of its fee.
    assert sum(Decimal(r["debit"] or 0) for r in rows) == Decimal("34.00")
    assert (export.debit_minor, export.credit_minor) == (3_400, 3_400)
    assert hashlib.sha256(_file(export)).hexdigest() == export.sha256
    assert rows[0]["entry_sha256"] == JournalEntry.objects.earliest("pk").entry_sha256


def test_the_next_export_begins_where_the_last_one_ended(shop: Shop, customer: Customer) -> None:
    first = _export(shop)
    with pytest.raises(Conflict) as nothing:
        _export(shop, key="two")
    recognise(customer, "2026-01-06")

    second = _export(shop, key="two")
    other_form = _export(shop, Form.XERO, Detail.DAY, key="three")

    assert nothing.value.code == "nothing_to_export"
    assert second.first_position == first.last_position + 1
    assert {row["date"] for row in _rows(second)} == {"2026-01-04", "2026-01-05"}
    assert other_form.first_position == 1
    assert _export(shop, key="two") == second  # Asked for again, it is the same one.
    with pytest.raises(IdempotencyConflict):
        _export(shop, Form.XERO, key="two")


def test_a_file_stays_the_same_whatever_happens_afterwards(shop: Shop, customer: Customer) -> None:
    _map(shop, "2026-01-01", "A")
    export = _export(shop, Form.QUICKBOOKS, Detail.DAY)
    before = _file(export)

    _map(shop, "2025-01-01", "B")
    LedgerAccount.objects.filter(pk="1100").update(name="Renamed")
    recognise(customer, "2026-01-20")

    assert _file(export) == before


def test_each_day_has_the_codes_that_govern_it(shop: Shop, customer: Customer) -> None:
    _map(shop, "2026-01-01", "A")
    _map(shop, "2026-01-03", "B")

    rows = _rows(_export(shop))

    codes = {(row["date"], row["our_account"]): row["account"] for row in rows}
    assert codes["2026-01-02", "4000"] == "A4000"
    assert codes["2026-01-03", "4000"] == "B4000"


def test_an_account_without_a_code_is_named(shop: Shop, customer: Customer) -> None:
    _map(shop, "2026-01-01", "A", "2120")

    with pytest.raises(Conflict, match="no code for account 2120") as refused:
        _export(shop)

    assert refused.value.code == "account_not_mapped"
    assert not JournalExport.objects.exists()


def test_formulas_are_text(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    recognise(customer, "2026-01-02")
    codes = {a.pk: OtherCode("=1+1", "@sum") for a in LedgerAccount.objects.all()}
    map_accounts(
        codes=codes, effective_on=date(2026, 1, 1), tax_rate="x", reason="y", by=shop.maker, at=AT
    )

    row = _rows(_export(shop))[0]

    assert (row["account"], row["account_name"]) == ("'=1+1", "'@sum")


def test_a_file_of_before_keeps_its_columns(shop: Shop, customer: Customer) -> None:
    """It was handed out without what lines are worth, and is made again to the last byte."""
    export = _export(shop)
    old = JournalExport(
        entity=export.entity, form="quickbooks", detail="entry", currency="USD",
        first_position=1, last_position=export.last_position, layout=1, account_map=None,
    )  # fmt: skip

    header, *rows = b"".join(file_pieces(Stretch.of(old))).decode().splitlines()

    assert header.endswith(",Name,Currency")
    assert len(rows) == export.line_count
    assert _rows(export)[0].keys() > {"books_debit", "books_credit"}
    assert (export.books_currency, export.books_debit_minor) == ("USD", 3_400)


@pytest.mark.parametrize(
    ("codes", "reason", "field"),
    [
        ({"9999": OtherCode("1", "x")}, "y", "codes"),
        ({"1100": OtherCode(" ", "x")}, "y", "codes"),
        ({}, "y", "codes"),
        ({"1100": OtherCode("1", "x")}, " ", "reason"),
    ],
)
def test_bad_codes_are_refused(
    shop: Shop, codes: dict[str, OtherCode], reason: str, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        map_accounts(
            codes=codes, effective_on=date(2026, 1, 1), tax_rate="x", reason=reason,
            by=shop.maker, at=AT,
        )  # fmt: skip
    assert refused.value.field == field


def test_only_finance_hands_the_journal_out(shop: Shop, customer: Customer, auditor: User) -> None:
    with pytest.raises(NotAllowed):
        export_journal(form=Form.CSV, detail=Detail.DAY, currency="USD", key="x", by=auditor, at=AT)
    with pytest.raises(Invalid):
        export_journal(
            form=Form.CSV, detail=Detail.DAY, currency="ZZZ", key="x", by=shop.maker, at=AT
        )


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE journal_export SET sha256 = repeat('0', 64)", "refused"),
        ("DELETE FROM journal_export", "refused"),
        ("INSERT INTO journal_export (form, detail, currency, first_position, last_position,"
         " line_count, debit_minor, credit_minor, sha256, source_key, created_at, created_by_id)"
         " SELECT form, detail, currency, 1, 2, 0, 0, 0, sha256, 'x', created_at, created_by_id"
         " FROM journal_export", "ended at"),
        ("INSERT INTO journal_export (form, detail, currency, first_position, last_position,"
         " line_count, debit_minor, credit_minor, sha256, source_key, created_at, created_by_id)"
         " SELECT form, detail, currency, last_position + 1, last_position + 9, 0, 0, 0, sha256,"
         " 'x', created_at, created_by_id FROM journal_export", "no entry at position"),
    ],
)  # fmt: skip
def test_postgresql_keeps_what_was_exported(
    shop: Shop, customer: Customer, statement: str, words: str
) -> None:
    _export(shop)

    with (
        connection.cursor() as cursor,
        pytest.raises(DatabaseError, match=words),
        transaction.atomic(),
    ):
        cursor.execute(statement)


@pytest.fixture
def call(db: None) -> Callable[..., Any]:
    _, token = create_api_key(name="books", scopes=["admin"], at=AT)
    client = Client(headers={"authorization": f"Bearer {token}"})

    def ask(path: str, body: dict[str, str] | None = None, key: str = "k") -> Any:
        if body is None:
            return client.get(f"/v1/{path}")
        return client.post(
            f"/v1/{path}", body, content_type="application/json", headers={"Idempotency-Key": key}
        )

    return ask


def test_an_export_over_the_api(shop: Shop, customer: Customer, call: Callable[..., Any]) -> None:
    body = {"form": "xero", "currency": "USD"}

    made = call("journal_exports", body)
    again = call("journal_exports", body)
    nothing = call("journal_exports", body, key="other")
    file = call(f"journal_exports/{made.json()['id']}/file")

    assert (made.status_code, again.json()) == (201, made.json())
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_export")
    content = b"".join(file.streaming_content)
    assert hashlib.sha256(content).hexdigest() == made.json()["sha256"]
    assert content.decode().splitlines()[0] == (
        "*Narration,*Date,Description,*AccountCode,*TaxRate,*Amount"
    )
    assert call("journal_exports").json()["data"] == [made.json()]
    assert call("journal_exports/999").status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"form": "excel", "currency": "USD"}, {"form": "csv", "currency": "usd"}]
)
def test_a_bad_export_is_a_problem(call: Callable[..., Any], body: dict[str, str]) -> None:
    assert call("journal_exports", body).status_code == 422


def test_finance_maps_and_exports_in_the_back_office(
    shop: Shop, customer: Customer, maker: User
) -> None:
    client = client_of(maker)
    form_url = reverse("admin:revrec_accountmap_new_version")
    page = client.get(form_url).context["form"]
    codes = page["codes"].initial.replace("1100,1100,", "1100,120,")

    client.post(form_url, {
        "nonce": page["nonce"].value(), "effective_on": "2026-01-01", "tax_rate": "No VAT",
        "codes": codes, "reason": "our chart",
    })  # fmt: skip
    form_url = reverse("admin:revrec_journalexport_export")
    nonce = client.get(form_url).context["form"]["nonce"].value()
    sent = {
        "nonce": nonce, "entity": "1", "form_of": "netsuite", "detail": "day", "currency": "usd",
    }  # fmt: skip
    client.post(form_url, sent)
    client.post(form_url, sent)  # A double click.

    export = JournalExport.objects.get()
    assert AccountMap.objects.get().codes.get(account="1100").code == "120"
    assert export.sha256 in client.get(page_of(export)).content.decode()
    file = client.get(action_url(export, "download"))
    assert b"".join(file.streaming_content).startswith(b"External ID,Date,")  # type: ignore[attr-defined]
