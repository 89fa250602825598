"""The client that apps copy, against the real server."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from billing_project.kernel.users import ensure_roles
from credits.models import Hold
from docs.billing_client import Away, BillingClient, Refused, stable_identifier
from metering.models import MeterEvent
from tests.credits.builders import Shop, make_shop

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def served(
    live_server: LiveServer, settings: Any, maker: User, approver: User
) -> tuple[Shop, BillingClient]:
    """Return a shop with 100 credits, and a client of its server."""
    ensure_roles()
    settings.BILLING_CLOCK = AT.isoformat()
    shop = make_shop(maker, approver, AT)
    shop.grant("100")
    _, key = create_api_key(name="app", scopes=["authorize", "events:write"], at=AT)
    return shop, BillingClient(live_server.url, key, timeout=20, batch_size=3)


def _use(client: BillingClient, shop: Shop, value: str, **words: Any) -> str:
    return client.record(
        event_name="input", customer=shop.customer.external_id, timestamp=AT,
        properties={"model": "small", "input": value}, **words,
    )  # fmt: skip


def test_work_is_asked_for_reported_and_settled(served: tuple[Shop, BillingClient]) -> None:
    shop, client = served
    who = shop.customer.external_id
    leave = client.authorize(customer=who, model="small", estimate={"input": "100"})
    identifier = _use(client, shop, "40")
    sent = client.flush()
    client.settle(leave, identifier)
    refused = client.authorize(customer=who, credits="81")

    assert (leave.is_allowed, leave.answer["credits"]) == (True, "50")
    assert (sent.accepted, sent.left) == (1, 0)
    assert Hold.objects.get().credits == 20
    assert (refused.is_allowed, refused.reason, refused.hold) == (
        False, "insufficient_balance", None,
    )  # fmt: skip


def test_batches_are_sent_once_whatever_is_sent_again(served: tuple[Shop, BillingClient]) -> None:
    shop, client = served
    for number in range(7):
        _use(client, shop, str(number))
    _use(client, shop, "3")  # The same use, told twice: the same name.
    threads = [threading.Thread(target=client.flush) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _use(client, shop, "3")

    assert client.flush().duplicates == 1
    assert MeterEvent.objects.count() == 7


def test_what_is_not_billable_is_told(served: tuple[Shop, BillingClient]) -> None:
    shop, client = served
    client.record(event_name="input", customer="nobody", properties={"input": "1"}, timestamp=AT)
    _use(client, shop, "1", identifier="mine")

    (problem,) = client.flush().problems
    assert (problem["status"], problem["code"]) == ("quarantined", "unknown_customer")


def test_a_wrong_request_is_refused_at_once(served: tuple[Shop, BillingClient]) -> None:
    _, client = served
    with pytest.raises(Refused, match="unknown_customer"):
        client.authorize(customer="nobody", credits="1")


@pytest.mark.parametrize(("when_away", "is_allowed"), [("open", True), ("closed", False)])
def test_a_service_that_is_away_is_open_or_closed_as_configured(
    when_away: Any, is_allowed: bool
) -> None:
    pauses: list[float] = []
    client = BillingClient(
        "http://127.0.0.1:9", "abk_x_y", when_away=when_away, sleep=pauses.append, most_queued=1
    )
    leave = client.authorize(customer="acme", credits="1")
    client.record(event_name="input", customer="acme", properties={"input": "1"})

    assert (leave.is_allowed, leave.reason) == (is_allowed, "service_away")
    assert client.flush().left == 1
    with pytest.raises(Away, match="wait to be sent: 1"):
        client.record(event_name="input", customer="acme", properties={"input": "1"})
    assert all(0 <= pause <= 5 for pause in pauses)
    assert len(pauses) == 1 + 4


def test_a_name_follows_the_content_and_nothing_else() -> None:
    one = {"customer": "a", "properties": {"x": "1", "y": "2"}}
    other = {"properties": {"y": "2", "x": "1"}, "customer": "a"}

    assert stable_identifier(one) == stable_identifier(other)
    assert stable_identifier(one) != stable_identifier({**one, "customer": "b"})
