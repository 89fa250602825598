"""Retry storms and answers that get lost: one row, one charge, and every sender hears a success."""

import random
from collections import Counter
from functools import partial

import pytest

from metering.models import EventIdentity, MeterEvent, UsageWindow
from tests.faults.proxy import Fault, proxying
from tests.faults.rig import Answer, Sender, aggregate_all, an_event, at_once

pytestmark = [pytest.mark.integration]


def _storm(sender: Sender, connections: int, times: int) -> list[Answer]:
    event = an_event("storm")
    batch = {"events": [event]}

    def repeat() -> list[Answer]:
        return [sender.post(batch if n % 2 else event) for n in range(times)]

    return [answer for answers in at_once([repeat] * connections) for answer in answers]


def _assert_one_row_and_successes(answers: list[Answer]) -> None:
    accepted = sum(
        answer.content.get("status") == "accepted" or answer.content.get("accepted") == 1
        for answer in answers
    )
    assert Counter(answer.status for answer in answers) == {200: len(answers)}
    assert accepted == 1
    aggregate_all()
    assert (MeterEvent.objects.count(), EventIdentity.objects.count()) == (1, 1)
    assert UsageWindow.objects.get(meter__code="tokens_sum").quantity == 100


def test_i1_a_retry_storm_stores_one_row(sender: Sender) -> None:
    _assert_one_row_and_successes(_storm(sender, 32, 10))


@pytest.mark.long
def test_i1_thirty_two_connections_send_one_event_a_thousand_times_each(sender: Sender) -> None:
    _assert_one_row_and_successes(_storm(sender, 32, 1000))


def _lose_answers(sender: Sender, events: int, share: float, seed: int = 8) -> int:
    """Deliver events through a proxy that loses a share of the answers; return how many it lost."""

    def fault_of(number: int) -> Fault:
        is_lost = random.Random(f"{seed}-{number}").random() < share
        return Fault(cut_answer_after=0) if is_lost else Fault()

    with proxying(("127.0.0.1", sender.port)) as proxy:
        proxy.fault_of = fault_of
        behind = Sender(proxy.port, sender.key)

        def deliver(lane: int) -> list[Answer]:
            return [behind.deliver(an_event(f"lost-{lane}-{n}")) for n in range(lane, events, 8)]

        answers = [one for lane in at_once([partial(deliver, n) for n in range(8)]) for one in lane]
        lost = sum(fault_of(number).cut_answer_after == 0 for number in range(proxy.connections))
    assert {answer.status for answer in answers} == {200}
    statuses = Counter(answer.content["status"] for answer in answers)
    assert statuses["duplicate"] > 0, "a lost answer means a stored event: its retry is a duplicate"
    aggregate_all()
    assert MeterEvent.objects.count() == events
    assert UsageWindow.objects.get(meter__code="tokens_sum").quantity == 100 * events
    return lost


def test_i8_a_swallowed_answer_is_retried_and_counted_once(sender: Sender) -> None:
    assert _lose_answers(sender, 120, 0.3) > 20


@pytest.mark.long
def test_i8_three_thousand_events_through_a_proxy_that_loses_a_third_of_the_answers(
    sender: Sender,
) -> None:
    assert _lose_answers(sender, 3000, 0.3) > 800


@pytest.mark.parametrize(
    "fault",
    [
        Fault(piece=7, latency=0.001),
        Fault(latency=0.05),
        Fault(cut_request_after=200),
        Fault(end_request_after=200),
        Fault(cut_answer_after=20),
        Fault(is_refused=True),
    ],
    ids=["drip", "latency", "reset", "half-close", "cut", "refused"],
)
def test_a_broken_line_stores_an_event_at_most_once(sender: Sender, fault: Fault) -> None:
    with proxying(("127.0.0.1", sender.port)) as proxy:
        proxy.fault_of = lambda number: fault if number == 0 else Fault()
        answer = Sender(proxy.port, sender.key).deliver(an_event("line"))

    assert (answer.status, MeterEvent.objects.count()) in {(200, 1), (400, 0)}
    assert sender.post(an_event("line")).status == 200
    assert MeterEvent.objects.count() == 1
