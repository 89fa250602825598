"""A customer is shown with what is owed back to them."""

import pytest
from django.test import Client

from billing_project.kernel.keys import create_api_key
from invoicing.crediting import Settlement
from invoicing.services.refunds import record_refund
from tests.invoicing.builders import START, Shop, customer_of, issued, note_on, open_shop, paid

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(db: None) -> Shop:
    return open_shop()


def test_a_customer_is_shown_with_balance_and_refunds_due(shop: Shop) -> None:
    customer = customer_of(shop)
    _, key = create_api_key(name="test", scopes=["usage:read"], at=START)
    said = {"authorization": f"Bearer {key}"}
    nothing = Client().get("/v1/customers/acme", headers=said).json()
    note = note_on(shop, paid(shop, issued(shop, customer, 5000)), 900, Settlement(600, 300))
    note_on(shop, paid(shop, issued(shop, customer, 5000, "JPY")), 70)
    record_refund(
        credit_note=note, amount_minor=200, method="card", reference="re_1", refunded_at=START,
        key="r", by=shop.maker, at=START,
    )  # fmt: skip

    shown = Client().get("/v1/customers/acme", headers=said).json()

    assert (nothing["external_id"], nothing["owed_back"]) == ("acme", [])
    assert shown["owed_back"] == [
        {
            "balance": {"amount": "70", "currency": "JPY"},
            "refunds_due": {"amount": "0", "currency": "JPY"},
        },
        {
            "balance": {"amount": "3.00", "currency": "USD"},
            "refunds_due": {"amount": "4.00", "currency": "USD"},
        },
    ]
