"""Balances by the short way in: the answers of the long way, and nothing unusual."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError
from rest_framework import serializers

from billing_project.api import door
from billing_project.api.balance import BalanceSerializer
from billing_project.kernel.keys import create_api_key, find_api_key, revoke_api_key
from billing_project.kernel.models import User
from billing_project.kernel.rest.rates import RATES
from billing_project.kernel.users import worker_user
from invoicing.services.packs import sell_credit_pack
from tests.api.sending import Sender
from tests.credits.builders import NOVEMBER, Shop, make_shop
from tests.invoicing.builders import open_market

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BALANCE = "/v1/customers/acme/balance"


@pytest.fixture
def shop(maker: User, approver: User, settings: Any) -> Shop:
    settings.BILLING_CLOCK = AT.isoformat()
    return make_shop(maker, approver, NOVEMBER.start)


@pytest.fixture
def sender(shop: Shop, _one_connection: None) -> Sender:
    sender = Sender(create_api_key(name="app", scopes=["usage:read"], at=AT)[1])
    sender.ask(BALANCE, is_short=False)  # From now on the process remembers the key.
    sender.long_ways = 0
    return sender


def _fill(shop: Shop) -> None:
    """Give grants of every fate, and a pack that waits for its payment."""
    shop.grant("10.50", expires_at=AT + timedelta(days=3))
    shop.grant("7")
    shop.grant("3", expires_at=AT - timedelta(days=1))
    open_market(shop)
    sell_credit_pack(
        customer=shop.customer, pricing_unit=shop.unit, amount=Decimal(100), price_minor=9000,
        key="pack-1", by=worker_user(), at=AT,
    )  # fmt: skip


def _assert_shaped(serializer: Any, document: dict[str, Any]) -> None:
    """Compare names at every depth with what the published description promises."""
    assert list(document) == list(serializer.fields)
    for name, field in serializer.fields.items():
        if isinstance(field, serializers.ListSerializer):
            assert document[name], f"nothing of {name} was compared"
            for row in document[name]:
                _assert_shaped(field.child, row)


def test_both_ways_answer_what_is_described(sender: Sender, shop: Shop) -> None:
    _fill(shop)

    short = sender.ask(BALANCE)
    assert sender.long_ways == 0
    long = sender.ask(BALANCE, is_short=False)

    assert short[0] == long[0] == 200
    assert short[2] == long[2]
    assert short[1]["Content-Type"] == long[1]["Content-Type"]
    _assert_shaped(BalanceSerializer(), short[2])


@pytest.mark.parametrize(
    ("path", "changes", "status"),
    [
        (BALANCE, {"QUERY_STRING": "as_of=2026-11-01T00:00:00Z"}, 200),
        (BALANCE, {"QUERY_STRING": "day=1"}, 422),
        (BALANCE, {"REQUEST_METHOD": "POST"}, 403),  # No scope opens it.
        (BALANCE, {"HTTP_AUTHORIZATION": "Bearer abk_unknown_key"}, 401),
        (BALANCE, {"HTTP_AUTHORIZATION": ""}, 401),
        (BALANCE, {"HTTP_HOST": "elsewhere.example"}, 400),
        ("/v1/customers/nobody/balance", {}, 404),
        ("/v1/customers/no body/balance", {}, 404),
        ("/v1/customers/\x00/balance", {}, 422),
    ],
)
def test_what_is_unusual_takes_the_long_way(
    sender: Sender, path: str, changes: dict[str, Any], status: int
) -> None:
    assert sender.ask(path, **changes)[0] == status
    assert sender.long_ways == 1


def test_a_key_that_was_revoked_is_refused_at_once(sender: Sender) -> None:
    key = find_api_key(sender.token)
    assert key is not None
    assert sender.ask(BALANCE)[0] == 200

    revoke_api_key(key=key, by=worker_user(), reason="lost", at=AT)

    assert sender.ask(BALANCE)[0] == 401


def test_a_key_without_the_scope_is_refused(sender: Sender) -> None:
    sender.token = create_api_key(name="writer", scopes=["events:write"], at=AT)[1]
    assert sender.ask(BALANCE, is_short=False)[0] == 403

    assert sender.ask(BALANCE)[0] == 403


def test_a_failure_is_said_by_the_long_way(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise OperationalError("down")

    monkeypatch.setattr(door, "balance_answer", fail)

    assert sender.ask(BALANCE)[0] == 200  # The long way found it up again.
    assert sender.long_ways == 1


def test_too_many_calls_are_refused_here_too(sender: Sender, settings: Any) -> None:
    settings.API_CALLS_PER_SECOND = 1
    RATES.__init__()  # type: ignore[misc]

    assert [sender.ask(BALANCE)[0] for _ in range(3)] == [200, 200, 429]
