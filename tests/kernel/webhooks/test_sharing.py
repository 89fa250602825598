"""Deliveries that are claimed together are shared by the endpoints that wait."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from billing_project.kernel.models import User, WebhookDelivery, WebhookEndpoint
from billing_project.kernel.webhooks.announcing import TEST, announce
from billing_project.kernel.webhooks.delivering import _claim_some
from billing_project.kernel.webhooks.endpoints import Wish, create_endpoint

pytestmark = pytest.mark.django_db

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.WEBHOOKS_TO_LOOPBACK = True


def _backlog(owner: User, endpoints: int, events: int) -> list[int]:
    made = [
        create_endpoint(wish=Wish(f"http://127.0.0.1:9/{number}", (TEST,), owner), by=owner, at=AT)[
            0
        ]
        for number in range(endpoints)
    ]
    for number in range(events):
        announce(TEST, key=str(number), data={"endpoint": "x"}, at=AT)
    assert WebhookDelivery.objects.count() == endpoints * events
    return [endpoint.pk for endpoint in made]


@pytest.mark.parametrize(
    ("endpoints", "shares"),
    [(1, [8]), (2, [8, 8]), (3, [5, 5, 6]), (5, [3, 3, 3, 3, 4]), (18, [1] * 16)],
)
def test_nobody_s_backlog_starves_the_others(
    engineer: User, endpoints: int, shares: list[int]
) -> None:
    _backlog(engineer, endpoints, 9)

    claimed = Counter(one.delivery.endpoint_id for one in _claim_some(set(), AT))

    assert sorted(claimed.values()) == shares


def test_who_waits_longest_comes_first(engineer: User) -> None:
    keys = _backlog(engineer, 18, 1)
    first = {one.delivery.endpoint_id for one in _claim_some(set(), AT)}

    second = {one.delivery.endpoint_id for one in _claim_some(set(), AT)}

    assert first | second == set(keys)
    assert WebhookEndpoint.objects.count() == 18
