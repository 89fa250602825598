"""One key that calls without end is slowed down; others are served, and nothing is lost."""

from collections import Counter
from functools import partial
from typing import Any

import pytest
from django.test import Client

from billing_project.kernel.rest.rates import RATES, Rates
from metering.models import MeterEvent
from tests.faults.rig import Sender, a_key, an_event, at_once, database_environment, serving

SECOND = 10**9


@pytest.fixture(autouse=True)
def _empty_buckets() -> None:
    RATES.__init__()  # type: ignore[misc]


def test_twice_a_second_s_calls_may_come_at_once_then_one_by_one() -> None:
    rates = Rates()

    assert [rates.take(1, 5, SECOND) for _ in range(10)] == [0] * 10
    assert rates.take(1, 5, SECOND) == SECOND // 5
    assert rates.take(2, 5, SECOND) == 0, "another key has its own bucket"
    assert rates.take(1, 5, SECOND + SECOND // 5) == 0
    assert rates.take(1, 5, SECOND + SECOND // 5) > 0


def test_keys_that_are_remembered_are_bounded() -> None:
    rates = Rates()

    for key in range(10_500):
        rates.take(key, 5, SECOND)

    assert len(rates._full_at) == 10_000


def test_i20_a_key_that_calls_too_often_is_told_when_to_come_again(
    client: Client, settings: Any
) -> None:
    settings.API_CALLS_PER_SECOND = 1

    answers = [client.get("/v1/events?customer=acme") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert answers[3].json()["code"] == "too_many_requests"
    assert answers[3].headers["Content-Type"] == "application/problem+json"
    assert int(answers[3].headers["Retry-After"]) >= 1


@pytest.mark.integration
def test_i20_fifty_at_once_are_slowed_and_another_key_is_not(books: None) -> None:
    environment = {**database_environment(), "API_CALLS_PER_SECOND": "5"}
    with serving(environment) as server:
        abuser, other = Sender(server.port, a_key()), Sender(server.port, a_key())

        answers = at_once([partial(abuser.post, an_event(f"e{n}")) for n in range(50)])
        counts = Counter(answer.status for answer in answers)

        assert set(counts) == {200, 429}
        assert counts[429] >= 15  # Two processes, ten at once each, five a second thereafter.
        assert all(int(a.headers["Retry-After"]) >= 1 for a in answers if a.status == 429)
        assert other.post(an_event("other")).status == 200
        for n in range(50):
            assert abuser.deliver(an_event(f"e{n}")).status == 200
    assert MeterEvent.objects.count() == 51
