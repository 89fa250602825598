"""The API of money: scopes, strict input, text amounts, idempotent notes, documents."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from billing_project.kernel.keys import create_api_key
from invoicing.models import CreditNote, Invoice, Subscription
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.refunds import record_refund, record_refund_failure
from metering.models import Customer
from tests.invoicing.builders import (
    DAY,
    END,
    LAUNCH,
    START,
    Shop,
    customer_of,
    issued,
    note_on,
    paid,
    sell_plan,
    sold_pack,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db

NOW = END + 2 * DAY


class Api:
    """A client with one key."""

    def __init__(self, *scopes: str) -> None:
        self._token = create_api_key(name="test", scopes=scopes, at=LAUNCH)[1]
        self._client = Client()

    def get(self, path: str) -> Any:
        """Read."""
        return self._client.get(f"/v1/{path}", **self._headers())

    def post(self, path: str, body: object, key: str | None = None) -> Any:
        """Write JSON."""
        return self._client.post(
            f"/v1/{path}", json.dumps(body), content_type="application/json", **self._headers(key)
        )

    def _headers(self, key: str | None = None) -> dict[str, Any]:
        headers = {"HTTP_AUTHORIZATION": f"Bearer {self._token}"}
        return {**headers, "HTTP_IDEMPOTENCY_KEY": key} if key else headers


@pytest.fixture(autouse=True)
def _clock(settings: Settings) -> None:
    settings.BILLING_CLOCK = NOW.isoformat()


@pytest.fixture
def reader(db: None) -> Api:
    """Return a key that reads invoices."""
    return Api("invoices:read")


@pytest.fixture
def admin(db: None) -> Api:
    """Return a key that may do everything."""
    return Api("admin")


@pytest.fixture
def month(shop: Shop) -> Subscription:
    """Live through a period with 80 credits of overage; its fee and overage are issued."""
    subscription = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    use(shop, 150, START + DAY, "req-1")
    use(shop, 30, START + 2 * DAY, "req-2", model="large")
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    return subscription


def test_a_subscription_takes_the_version_that_governs(shop: Shop, admin: Api) -> None:
    customer_of(shop)
    sell_plan(shop)

    answer = admin.post(
        "subscriptions",
        {"customer": "acme", "plan": "starter", "start_at": "2026-10-21T02:00:00+02:00"},
    )

    assert answer.status_code == 201
    assert answer.json() == {
        "id": Subscription.objects.get().pk, "customer": "acme", "plan": "starter",
        "plan_version": 1, "start_at": "2026-10-21T00:00:00Z", "ends_at": None,
        "created_at": "2026-11-22T00:00:00Z",
    }  # fmt: skip
    assert admin.get("subscriptions?customer=acme").json()["data"] == [answer.json()]
    assert admin.get("subscriptions?customer=nobody").json()["data"] == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"customer": "nobody"}, 404),
        ({"plan": "nothing"}, 404),
        ({"start_at": "2026-11-23T00:00:00Z"}, 422),  # Tomorrow.
        ({"start_at": "2025-10-01T00:00:00Z"}, 422),  # More than 400 days ago.
        ({"start_at": "2025-12-31T00:00:00Z"}, 409),  # Before the plan governs.
        ({"start_at": "2026-10-21"}, 422),
        ({"colour": "red"}, 422),
    ],
)
def test_a_subscription_without_sense_is_refused(
    shop: Shop, admin: Api, changes: dict[str, str], status: int
) -> None:
    customer_of(shop)
    sell_plan(shop)
    body = {"customer": "acme", "plan": "starter", "start_at": "2026-10-21T00:00:00Z"}

    assert admin.post("subscriptions", {**body, **changes}).status_code == status
    assert not Subscription.objects.exists()


def test_scopes_are_asked_for(shop: Shop, reader: Api) -> None:
    assert reader.post("subscriptions", {}).status_code == 403
    assert reader.post("credit_notes", {}, "k").status_code == 403
    assert Api("events:write").get("invoices").status_code == 403


def test_invoices_are_listed_with_amounts_as_text(month: Subscription, reader: Api) -> None:
    data = reader.get("invoices?customer=acme&status=finalized&limit=1").json()

    assert data["data"] == [
        {
            "number": "INV-000002", "status": "finalized", "customer": "acme",
            "entity": "main", "workspace": None, "currency": "USD",
            "total": "0.96", "tax": "0.00", "tax_treatment": "outside",
            "paid": "0.00", "balance_applied": "0.00", "credited": "0.00",
            "open": "0.96", "written_off": "0.00", "replaces": None,
            "service_start_at": "2026-10-21T00:00:00Z", "service_end_at": "2026-11-20T00:00:00Z",
            "ready_at": "2026-11-21T00:00:00Z", "finalized_at": "2026-11-21T00:00:00Z",
            "due_on": "2026-12-21",
        }
    ]  # fmt: skip
    following = reader.get(f"invoices?limit=1&cursor={data['next_cursor']}").json()
    assert [row["number"] for row in following["data"]] == ["INV-000001"]
    assert reader.get("invoices?status=lost").status_code == 422


def test_an_invoice_shows_its_lines(month: Subscription, reader: Api) -> None:
    lines = reader.get("invoices/INV-000002").json()["lines"]

    assert lines[0] == {
        "line": 1, "kind": "overage", "description": "Credits used beyond those granted",
        "quantity": "80", "unit": "credit", "unit_price": "0.012", "amount": "0.96",
        "discount": "0.00", "tax": "0.00", "tax_rate": "0", "credited": "0.00",
        "service_start_at": "2026-10-21T00:00:00Z",
        "service_end_at": "2026-11-20T00:00:00Z",
    }  # fmt: skip
    assert [(line["kind"], line["amount"]) for line in lines[1:]] == [("credits_used", "0.00")] * 2
    assert reader.get("invoices/INV-999999").status_code == 404


def test_the_documents_are_pdf(month: Subscription, reader: Api) -> None:
    answer = reader.get("invoices/INV-000002/pdf")

    assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
    assert answer["Content-Disposition"] == 'inline; filename="INV-000002.pdf"'
    assert answer.content.startswith(b"%PDF-")
    assert reader.get("credit_notes/CN-000001/pdf").status_code == 404


def test_a_line_leads_back_to_its_events_page_by_page(month: Subscription, reader: Api) -> None:
    path = "invoices/INV-000002/lines/1/events"

    whole = reader.get(path).json()
    first = reader.get(f"{path}?limit=1").json()
    second = reader.get(f"{path}?limit=1&cursor={first['next_cursor']}").json()

    assert whole["next_cursor"] is None
    assert whole["data"] == [*first["data"], *second["data"]]
    assert second["next_cursor"] is None
    assert whole["data"][0] == {
        "meter": "output_tokens", "window_start_at": "2026-10-22T00:00:00Z",
        "identifier": "req-1", "event_name": "llm_request", "workspace": None,
        "timestamp": "2026-10-22T00:00:00Z",
        "properties": {"model": "small", "output_tokens": "150"},
    }  # fmt: skip
    assert reader.get("invoices/INV-000001/lines/1/events").json()["data"] == []  # A fee.
    assert reader.get("invoices/INV-000002/lines/9/events").status_code == 404
    assert reader.get(f"{path}?cursor=x").status_code == 422


def test_a_preview_shows_the_running_period_and_how_complete_it_is(
    shop: Shop, reader: Api, settings: Settings
) -> None:
    subscribed(shop)
    use(shop, 150, START + DAY)
    note_on(shop, paid(shop, issued(shop, Customer.objects.get(), 5000)), 25)
    settings.BILLING_CLOCK = (START + 2 * DAY).isoformat()

    data = reader.get("invoices/preview?customer=acme").json()
    coming = [(line["kind"], line["amount"]) for line in data.pop("coming_lines")]

    assert (coming, data.pop("coming_total")) == ([("recurring", "49.00")], "49.00")
    assert data == {
        "customer": "acme", "service_start_at": "2026-10-21T00:00:00Z",
        "service_end_at": "2026-11-20T00:00:00Z", "currency": "USD", "total": "0.60",
        "tax": "0.00", "balance_applied": "0.25", "amount_due": "0.35",
        "lines": [
            {
                "kind": "overage", "description": "Credits used beyond those granted",
                "quantity": "50", "unit": "credit", "unit_price": "0.012", "amount": "0.60",
                "discount": "0.00",
            },
            {
                "kind": "credits_used", "description": "Output tokens, small",
                "quantity": "150", "unit": "credit", "unit_price": "0", "amount": "0.00",
                "discount": "0.00",
            },
        ],
        "invoices": [{"workspace": None, "overage": "50", "amount": "0.60"}],
        "as_of": "2026-10-23T00:00:00Z", "lag_seconds": "0", "overcharged": [],
    }  # fmt: skip
    settings.BILLING_CLOCK = datetime(2030, 1, 1, tzinfo=UTC).isoformat()
    assert reader.get("invoices/preview?customer=acme").status_code == 404
    assert reader.get("invoices/preview").status_code == 422


NOTE: dict[str, Any] = {
    "invoice": "INV-000001", "lines": [{"line": 1, "amount": "12.00"}],
    "reason": "service_failure", "memo": "Slow",
}  # fmt: skip


def test_a_credit_note_is_issued_once_for_its_key(month: Subscription) -> None:
    api = Api("credits:write", "invoices:read")

    answer = api.post("credit_notes", NOTE, "note-1")

    assert answer.status_code == 201
    assert answer.json() == {
        "number": "CN-000001", "invoice": "INV-000001", "customer": "acme",
        "reason": "service_failure", "memo": "Slow", "currency": "USD", "total": "12.00",
        "tax": "0.00", "open": "12.00", "issued_at": "2026-11-22T00:00:00Z",
        "voided_at": None, "refunds": [],
        "settlement": {"refund": "0.00", "balance": "0.00", "out_of_band": "0.00"},
        "lines": [
            {"line": 1, "amount": "12.00", "tax": "0.00", "evened": "0.00", "credits": "0"},
        ],
        "restored": [],
    }  # fmt: skip
    again = api.post("credit_notes", NOTE, "note-1")
    assert (again.json(), again["Idempotency-Replayed"]) == (answer.json(), "true")
    assert api.post("credit_notes", {**NOTE, "memo": "x"}, "note-1").status_code == 409
    assert api.get("credit_notes?customer=acme").json()["data"] == [answer.json()]
    assert api.get("credit_notes?invoice=INV-000002").json()["data"] == []
    assert api.get("credit_notes/CN-000001").json() == answer.json()
    assert api.get("credit_notes/CN-000001/pdf").content.startswith(b"%PDF-")
    assert CreditNote.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"lines": [{"line": 1, "amount": "49.01"}]}, 409, "insufficient"),
        ({"lines": [{"line": 1, "amount": "0.001"}]}, 422, "invalid_value"),
        ({"lines": [{"line": 1, "amount": "0"}]}, 422, "invalid_value"),
        ({"lines": [{"line": 1, "amount": "-1"}]}, 422, "invalid_value"),
        ({"lines": [{"line": 1, "amount": "1e400"}]}, 422, "invalid_value"),
        ({"lines": [{"line": 1, "amount": "999999999999999999999999"}]}, 409, "insufficient"),
        ({"lines": [{"line": 2**40, "amount": "1"}]}, 422, "invalid_value"),
        ({"lines": [{"line": 1, "amount": "1"}] * 2}, 409, "insufficient"),
        ({"lines": [{"line": 1, "amount": "1"}] * 1001}, 422, "invalid_value"),
        ({"lines": []}, 422, "invalid_value"),
        ({"lines": [{"line": 7, "amount": "1"}]}, 404, "not_found"),
        ({"invoice": "INV-9"}, 404, "not_found"),
        ({"reason": "because"}, 422, "invalid_value"),
        ({"memo": "x" * 1001}, 422, "invalid_value"),
        ({"memo": "\u0000"}, 422, "invalid_value"),
    ],
)
def test_a_note_without_sense_is_a_problem(
    month: Subscription, changes: dict[str, object], status: int, code: str
) -> None:
    answer = Api("credits:write").post("credit_notes", {**NOTE, **changes}, "k")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not CreditNote.objects.exists()


def test_a_note_says_how_what_was_paid_goes_back(month: Subscription, shop: Shop) -> None:
    api = Api("credits:write", "invoices:read")
    invoice = Invoice.objects.get(number="INV-000001")
    paid(shop, invoice, 4500)  # 49.00 - 45.00 = 4.00 are open.
    wanted: dict[str, object] = {"refund": "5.00", "out_of_band": "2.50"}
    preview = {"invoice": "INV-000001", "lines": NOTE["lines"]}

    seen = api.post("credit_notes/preview", preview).json()
    refused = api.post("credit_notes", {**NOTE, "settlement": wanted}, "note-1")
    whole = {**NOTE, "settlement": {**wanted, "balance": "0.50"}}
    answer = api.post("credit_notes", whole, "note-2").json()

    assert (seen["open"], seen["returnable"]) == ("4.00", "8.00")
    assert seen["settlement"] == {"refund": "0.00", "balance": "8.00", "out_of_band": "0.00"}
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient")
    assert refused.json()["errors"] == [
        {
            "path": "$.settlement", "code": "insufficient",
            "detail": "8.00 USD was paid and goes back, but the settlement says 7.50 USD",
        }
    ]  # fmt: skip
    assert answer["settlement"] == {"refund": "5.00", "balance": "0.50", "out_of_band": "2.50"}
    note = CreditNote.objects.get()
    refund = record_refund(
        credit_note=note, amount_minor=500, method="card", reference="re_1",
        refunded_at=note.issued_at, key="r", by=shop.maker, at=note.issued_at,
    )  # fmt: skip
    record_refund_failure(
        refund=refund, reason="closed", failed_at=note.issued_at, by=shop.maker, at=note.issued_at
    )
    assert api.get("credit_notes/CN-000001").json()["refunds"] == [
        {
            "amount": "5.00", "refunded_at": "2026-11-22T00:00:00Z", "method": "card",
            "reference": "re_1", "failed_at": "2026-11-22T00:00:00Z",
        }
    ]  # fmt: skip
    pack = sold_pack(shop, invoice.customer, 900)
    shown = api.get(f"invoices/{pack.number}").json()
    assert (shown["total"], shown["balance_applied"], shown["open"]) == ("9.00", "5.50", "3.50")


@pytest.mark.parametrize(
    ("settlement", "path"),
    [
        ({"refund": "-1"}, "$.settlement.refund"),
        ({"balance": "0.001"}, "$.settlement.balance"),
        ({"out_of_band": "much"}, "$.settlement.out_of_band"),
        ("refund", "$.settlement"),
    ],
)
def test_a_settlement_without_sense_is_a_problem(
    month: Subscription, settlement: object, path: str
) -> None:
    answer = Api("credits:write").post("credit_notes", {**NOTE, "settlement": settlement}, "k")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value")
    assert [error["path"] for error in answer.json()["errors"]] == [path]


def test_a_note_needs_an_idempotency_key(month: Subscription) -> None:
    answer = Api("credits:write").post("credit_notes", NOTE)

    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")


def test_a_preview_of_a_note_stores_nothing(month: Subscription, reader: Api) -> None:
    body = {"invoice": "INV-000001", "lines": [{"line": 1, "amount": "12.00"}]}

    answer = reader.post("credit_notes/preview", body)

    assert answer.json() == {
        "invoice": "INV-000001", "currency": "USD", "total": "12.00", "tax": "0.00",
        "open": "12.00", "settlement": {"refund": "0.00", "balance": "0.00", "out_of_band": "0.00"},
        "returnable": "0.00", "evened": "0.00", "restored": [],
    }  # fmt: skip
    assert not CreditNote.objects.exists()


def test_an_invoice_is_voided_made_anew_and_written_off_over_http(shop: Shop) -> None:
    api, reader = Api("admin"), Api("invoices:read")
    first, second = (issued(shop, customer_of(shop, name), 5000) for name in ("acme", "globex"))
    body = {"reason": "wrong customer", "regenerate": True}

    answer = api.post(f"invoices/{first.number}/void", body, "void-1")
    again = api.post(f"invoices/{first.number}/void", body, "void-1")

    assert (answer.status_code, answer.json()) == (200, again.json())
    assert answer.json()["invoice"]["status"] == "void"
    assert answer.json()["replacement"]["replaces"] == first.number
    assert api.post(f"invoices/{first.number}/void", body).status_code == 400  # No key.
    assert reader.post(f"invoices/{first.number}/void", body, "void-2").status_code == 403
    assert api.post(f"invoices/{first.number}/void", {"reason": ""}, "v").status_code == 422
    given_up = api.post(f"invoices/{second.number}/write_off", {"reason": "insolvent"}, "w-1")
    assert given_up.json()["written_off"] == "50.00"
    refused = api.post(f"invoices/{second.number}/void", {"reason": "x"}, "void-3")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
