"""Streamed exports: every row of the span, exact, and harmless in a spreadsheet."""

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.test import Client

from billing_project.api import exports
from billing_project.kernel.keys import create_api_key
from metering.models import Customer
from revrec.models import Posting
from tests.revrec.builders import Shop, on, open_shop, recognise

pytestmark = pytest.mark.django_db
SPAN = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}


@pytest.fixture
def customer(maker: Any, approver: Any) -> Customer:
    shop: Shop = open_shop(maker, approver)
    customer = shop.subscriber("2026-01-01", fee=3_100, overage="0.01")
    shop.grant(customer, "100", "2026-01-02", price=1_000)
    shop.use(customer, "40.5", "2026-01-05T10")
    shop.use(customer, "300", "2026-01-06T10")
    recognise(customer, "2026-01-20")
    return customer


@pytest.fixture
def get(db: None) -> Callable[..., Any]:
    _, token = create_api_key(
        name="auditor", scopes=["usage:read", "invoices:read"], at=on("2026-01-01")
    )
    client = Client(headers={"authorization": f"Bearer {token}"})
    return lambda name, **query: client.get(f"/v1/exports/{name}", {**SPAN, **query})


def _body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def _rows(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(_body(answer).decode())))


def test_events_and_the_ledger_lead_to_one_another(
    customer: Customer, get: Callable[..., Any]
) -> None:
    events, ledger = _rows(get("events")), _rows(get("ledger"))

    assert [json.loads(row["properties"])["amount"] for row in events] == ["40.5", "300"]
    assert {row["customer"] for row in events} == {customer.external_id}
    kinds = [(row["kind"], row["credits"]) for row in ledger]
    assert kinds == [("granted", "100"), ("drawn", "-40.5"), ("drawn", "-59.5")]
    assert ledger[1]["window_at"] == "2026-01-05T10:00:00Z"


def test_the_journal_balances_as_it_is_exported(
    customer: Customer, get: Callable[..., Any]
) -> None:
    rows = _rows(get("journal"))

    assert len(rows) == Posting.objects.count()
    debits = sum(Decimal(row["debit"] or 0) for row in rows)
    assert debits == sum(Decimal(row["credit"] or 0) for row in rows) > 0


def test_invoice_lines_say_what_they_claim(customer: Customer, get: Callable[..., Any]) -> None:
    [row] = _rows(get("invoices"))

    assert (row["amount"], row["currency"], row["kind"]) == ("31.00", "USD", "recurring")
    assert row["invoice"].startswith("INV-")
    assert _rows(get("invoices", start="2026-01-02T00:00:00Z")) == []


@pytest.mark.parametrize("name", [view.name for view in exports.EXPORTS])
def test_all_forms_hold_the_same_rows(
    customer: Customer, get: Callable[..., Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_PAGE", 2)  # Pages end within the rows.

    in_csv = _rows(get(name))
    in_json = [json.loads(line) for line in _body(get(name, format="jsonl")).splitlines()]
    in_parquet = pq.read_table(io.BytesIO(_body(get(name, format="parquet")))).to_pylist()

    assert len(in_csv) == len(in_json) == len(in_parquet) > 0
    ids = [row["id"] for row in in_json]
    assert ids == sorted(set(ids)) == [row["id"] for row in in_parquet]
    assert [int(row["id"]) for row in in_csv] == ids


def test_every_column_is_in_the_dictionary(get: Callable[..., Any]) -> None:
    for view in exports.EXPORTS:
        header = _body(get(view.name)).decode().splitlines()[0].split(",")
        assert header == [field.name for field in view.export.fields]
        assert all(field.meaning for field in view.export.fields)


@pytest.mark.parametrize(
    "query",
    [
        {"end": "2026-01-01T00:00:00Z"},
        {"start": "soon"},
        {"format": "xlsx"},
        {"customer": "acme"},
    ],
)
def test_bad_queries_are_refused(get: Callable[..., Any], query: dict[str, str]) -> None:
    assert get("journal", **query).status_code == 422
