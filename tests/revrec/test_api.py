"""The books over HTTP."""

import pytest
from django.test import Client

from billing_project.kernel.keys import create_api_key
from metering.models import Customer
from tests.revrec.builders import Shop, on, recognise

pytestmark = pytest.mark.django_db


@pytest.fixture
def get(db: None):  # type: ignore[no-untyped-def]
    """Return a caller with the scope that these endpoints need."""
    _, token = create_api_key(name="books", scopes=["invoices:read"], at=on("2026-01-01"))
    client = Client(headers={"authorization": f"Bearer {token}"})
    return lambda path: client.get(f"/v1/{path}")


@pytest.fixture
def customer(shop: Shop) -> Customer:
    """Return a customer with two earned days."""
    customer = shop.subscriber("2026-01-01", fee=3_100)
    recognise(customer, "2026-01-03")
    return customer


def test_entries_carry_their_postings(get, customer: Customer) -> None:  # type: ignore[no-untyped-def]
    answer = get(f"journal_entries?customer={customer.external_id}&account=1100")

    [entry] = answer.json()["data"]
    assert entry["kind"] == "invoice_finalized"
    assert (entry["period"], entry["effective_on"]) == ("2026-01", "2026-01-01")
    assert entry["customer"] == customer.external_id
    assert [(p["account"], p["amount"], p["currency"]) for p in entry["postings"]] == [
        ("1100", "31.00", "USD"),
        ("2120", "-31.00", "USD"),
    ]


def test_entries_are_paged_newest_first(get, customer: Customer) -> None:  # type: ignore[no-untyped-def]
    first = get("journal_entries?period=2026-01&limit=2").json()
    second = get(f"journal_entries?period=2026-01&limit=2&cursor={first['next_cursor']}").json()

    dates = [entry["effective_on"] for entry in first["data"] + second["data"]]
    assert dates == ["2026-01-02", "2026-01-01", "2026-01-01"]
    assert second["next_cursor"] is None


def test_a_trial_balance_is_text_with_the_decimals_of_its_currency(  # type: ignore[no-untyped-def]
    get, customer: Customer
) -> None:
    answer = get("reports/trial_balance?period=2026-01").json()

    assert (answer["period"], answer["status"]) == ("2026-01", "open")
    assert answer["data"][1] == {
        "account": "2120",
        "name": "Contract liability: fees",
        "currency": "USD",
        "opening": "0.00",
        "debits": "2.00",
        "credits": "31.00",
        "closing": "-29.00",
    }


def test_a_rollforward_adds_up(get, customer: Customer) -> None:  # type: ignore[no-untyped-def]
    [row] = get("reports/deferred_rollforward?period=2026-01").json()["data"]

    assert row == {
        "currency": "USD",
        "opening": "0.00",
        "billings": "31.00",
        "fees": "-2.00",
        "usage": "0.00",
        "breakage": "0.00",
        "credit_notes": "0.00",
        "other": "0.00",
        "closing": "29.00",
    }


def test_reports_come_as_csv(get, customer: Customer) -> None:  # type: ignore[no-untyped-def]
    answer = get("reports/trial_balance?period=2026-01&format=csv")

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="trial_balance-2026-01.csv"'
    assert answer.content.decode().splitlines() == [
        "account,name,currency,opening,debits,credits,closing",
        "1100,Accounts receivable,USD,0.00,31.00,0.00,31.00",
        "2120,Contract liability: fees,USD,0.00,2.00,31.00,-29.00",
        "4000,Revenue: base fees,USD,0.00,0.00,2.00,-2.00",
    ]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("reports/trial_balance", 422, "invalid_value"),
        ("reports/trial_balance?period=2026-13", 422, "invalid_value"),
        ("reports/trial_balance?period=2026-01%0A", 422, "invalid_value"),
        ("reports/trial_balance?period=2026-01&format=xlsx", 422, "invalid_value"),
        ("reports/trial_balance?period=2026-01&by=me", 422, "invalid_value"),
        ("reports/trial_balance?period=1999-01", 404, "not_found"),
        ("journal_entries?period=soon", 422, "invalid_value"),
        ("journal_entries?account=9999", 404, "not_found"),
    ],
)
def test_bad_queries_are_problems(get, path: str, status: int, code: str) -> None:  # type: ignore[no-untyped-def]
    answer = get(path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
