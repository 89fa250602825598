"""Balances over HTTP: now, at any past instant, as known then; and what waits for payment."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from billing_project.kernel.users import worker_user
from credits.services.rating import rate_customer
from invoicing.models import Invoice
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.packs import sell_credit_pack
from invoicing.services.payments import record_payment
from metering.events import EventInput
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events
from tests.credits.builders import NOVEMBER, Shop, make_shop
from tests.invoicing.builders import open_market

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY_10, DAY_12 = (datetime(2026, 11, day, 9, 30, tzinfo=UTC) for day in (10, 12))


@pytest.fixture(autouse=True)
def _clock(settings: Any) -> None:
    settings.BILLING_CLOCK = NOW.isoformat()


@pytest.fixture
def shop(maker: User, approver: User) -> Shop:
    return make_shop(maker, approver, NOVEMBER.start)


@pytest.fixture
def api(shop: Shop) -> Client:
    _, token = create_api_key(name="test", scopes=["usage:read"], at=NOW)
    shop.rate()  # Takes the note of the period, so that nothing waits.
    return Client(headers={"Authorization": f"Bearer {token}"})


def ledger(api: Client, **query: datetime) -> str:
    """Ask for the only unit's sum at an instant."""
    said = {name: instant.isoformat() for name, instant in query.items()}
    answer = api.get("/v1/customers/acme/balance", said)
    assert answer.status_code == 200, answer.json()
    (unit,) = answer.json()["balances"] or [{"ledger": "none"}]
    return str(unit["ledger"])


def pending(api: Client, **query: datetime) -> list[Any]:
    """Ask for what waits for payment at an instant."""
    said = {name: instant.isoformat() for name, instant in query.items()}
    units = api.get("/v1/customers/acme/balance", said).json()["balances"]
    return [pack for unit in units for pack in unit["pending"]]


def report_late(shop: Shop, tokens: str) -> None:
    """Report on the 20th what was used on the 10th."""
    event = EventInput(
        event_name="input", identifier="late", customer="acme", timestamp=DAY_10,
        properties={"model": "small", "input": tokens},
    )  # fmt: skip
    capture_events(items=[event], sender="test", at=NOW)
    aggregate_batches(at=NOW)
    rate_customer(customer_id=shop.customer.pk, by=shop.maker, at=NOW)


def test_a_balance_names_its_instant_and_lag(api: Client, shop: Shop) -> None:
    grant = shop.grant("10.50", expires_at=NOVEMBER.end)

    answer = api.get("/v1/customers/acme/balance")

    assert answer.status_code == 200
    ending = {"grant": str(grant.pk), "credits": "10.5", "expires_at": "2026-12-01T00:00:00Z"}
    assert answer.json() == {
        "customer": "acme",
        "workspace": None,
        "balances": [
            {
                "unit": "credit",
                "ledger": "10.5",
                "held": "0",
                "available": "10.5",
                "expiring": [ending],
                "pending": [],
            }
        ],
        "as_of": "2026-11-20T12:00:00Z",
        "known_at": "2026-11-20T12:00:00Z",
        "lag_seconds": "0",
    }


def test_a_balance_of_a_workspace_leaves_out_the_others(api: Client, shop: Shop) -> None:
    shop.grant("10", workspace=shop.workspace("prod"))
    shop.workspace("test")

    answer = api.get("/v1/customers/acme/balance?workspace=test").json()

    assert (answer["workspace"], answer["balances"]) == ("test", [])


def test_what_was_true_and_what_was_known_are_asked_apart(api: Client, shop: Shop) -> None:
    shop.grant("10", expires_at=NOW - timedelta(days=1))
    report_late(shop, "8")  # 4 credits.

    assert ledger(api, as_of=DAY_12) == "6"
    assert ledger(api, as_of=DAY_12, known_at=DAY_12) == "10"
    assert ledger(api, known_at=DAY_12) == "10"  # As it was answered that day.
    assert ledger(api, as_of=DAY_10 - timedelta(hours=1)) == "10"
    assert ledger(api, as_of=NOVEMBER.start - timedelta(seconds=1)) == "none"
    assert ledger(api, as_of=NOW) == ledger(api) == "6"  # Its expiry is not entered yet.


def test_what_had_not_expired_then_was_available(api: Client, shop: Shop) -> None:
    shop.grant("10", expires_at=NOW - timedelta(days=1))

    then = api.get("/v1/customers/acme/balance", {"as_of": DAY_12.isoformat()}).json()
    now = api.get("/v1/customers/acme/balance").json()

    assert then["as_of"] == "2026-11-12T09:30:00Z"
    assert [len(then["balances"][0]["expiring"]), then["balances"][0]["available"]] == [1, "10"]
    assert [len(now["balances"][0]["expiring"]), now["balances"][0]["available"]] == [0, "0"]


@pytest.mark.parametrize("name", ["as_of", "known_at"])
@pytest.mark.parametrize(
    "value", ["2026-11-20T12:00:01Z", "2026-11-20", "2026-11-12T09:30:00", "soon", ""]
)
def test_a_bad_instant_is_refused_by_its_name(api: Client, name: str, value: str) -> None:
    answer = api.get("/v1/customers/acme/balance", {name: value})

    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == [f"$.{name}"]


def test_a_pack_is_pending_until_it_is_paid(api: Client, shop: Shop) -> None:
    sold = _sell(shop, DAY_10)
    price = {"amount": "90.00", "currency": "USD"}
    pack = {"invoice": sold.number, "line": 1, "credits": "100", "price": price}

    assert pending(api) == [pack]
    assert ledger(api) == "0"

    record_payment(
        invoice=sold, amount_minor=9000, method="bank_transfer", reference="A-1",
        paid_at=DAY_12, by=worker_user(), at=DAY_12,
    )  # fmt: skip

    assert (pending(api), ledger(api)) == ([], "100")
    assert pending(api, as_of=DAY_12 - timedelta(seconds=1)) == [pack]
    assert pending(api, as_of=NOW, known_at=DAY_12 - timedelta(seconds=1)) == [pack]
    assert pending(api, as_of=DAY_10 - timedelta(seconds=1)) == []


def test_what_a_note_takes_off_a_pack_is_not_pending(api: Client, shop: Shop) -> None:
    sold = _sell(shop, DAY_10)
    _credit(sold, 4500, "half")

    assert [pack["credits"] for pack in pending(api)] == ["50"]
    assert [pack["credits"] for pack in pending(api, as_of=DAY_10)] == ["100"]

    _credit(sold, 4500, "rest")

    assert pending(api) == []


def _sell(shop: Shop, at: datetime) -> Invoice:
    open_market(shop)
    return sell_credit_pack(
        customer=shop.customer, pricing_unit=shop.unit, amount=Decimal(100), price_minor=9000,
        key="pack-1", by=worker_user(), at=at,
    )  # fmt: skip


def _credit(invoice: Invoice, amount_minor: int, key: str) -> None:
    issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(), amount_minor)], reason="billing_error",
        memo="", key=key, by=worker_user(), at=DAY_12,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("customers/nobody/balance", "unknown_customer"),
        ("customers/acme/balance?workspace=nowhere", "unknown_workspace"),
    ],
)
def test_whose_balance_must_be_known(api: Client, path: str, code: str) -> None:
    answer = api.get(f"/v1/{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, code)
