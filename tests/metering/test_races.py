"""Two connections at once: the database decides, and nobody gets an error."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

import pytest
from django.db import OperationalError, connection, transaction

from billing_project.kernel.books import run_checks
from billing_project.kernel.users import worker_user
from metering.models import EventBatch, MeterEvent, QuarantinedEvent, UsageWindow, Workspace
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.customers import add_alias
from metering.services.quarantine import replay_quarantine
from metering.services.retrying import atomic_with_retries
from tests.metering.builders import a_customer, a_meter, an_event, send, statuses

pytestmark = pytest.mark.django_db(transaction=True)
T = TypeVar("T")
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def at_once(*jobs: Callable[[], T]) -> list[T]:
    """Run jobs on connections of their own, started together."""
    start = threading.Barrier(len(jobs))

    def run(job: Callable[[], T]) -> T:
        try:
            start.wait(5)
            return job()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


@pytest.fixture(autouse=True)
def _set_up() -> Iterator[None]:
    a_customer(AT)
    a_meter(AT)
    a_meter(AT, "max")
    yield
    assert [one for result in run_checks() for one in result.findings] == []


def test_eight_senders_of_one_event_store_it_once() -> None:
    event = an_event(workspace="prod")

    results = at_once(*[lambda: send(AT, event)] * 8)

    assert sorted(statuses(result, 1)[0] for result in results) == ["accepted"] + ["duplicate"] * 7
    assert (MeterEvent.objects.count(), Workspace.objects.count()) == (1, 1)


def test_the_second_sender_waits_for_the_first_to_commit() -> None:
    is_stored, is_asked = threading.Event(), threading.Event()

    def first() -> str:
        with transaction.atomic():
            status = statuses(send(AT, an_event()), 1)[0]
            is_stored.set()
            assert is_asked.wait(5)
            _wait_until_somebody_is_blocked()
        return status

    def second() -> str:
        assert is_stored.wait(5)
        is_asked.set()
        return statuses(send(AT, an_event()), 1)[0]

    assert at_once(first, second) == ["accepted", "duplicate"]


def test_a_claim_that_is_rolled_back_leaves_the_event_to_the_second_sender() -> None:
    is_stored, is_asked = threading.Event(), threading.Event()

    def first() -> str:
        with transaction.atomic():
            send(AT, an_event())
            is_stored.set()
            assert is_asked.wait(5)
            _wait_until_somebody_is_blocked()
            transaction.set_rollback(True)
        return "undone"

    def second() -> str:
        assert is_stored.wait(5)
        is_asked.set()
        return statuses(send(AT, an_event()), 1)[0]

    assert at_once(first, second) == ["undone", "accepted"]


def test_unsorted_batches_that_overlap_do_not_deadlock() -> None:
    events = [an_event(f"e{i:03}") for i in range(200)]
    orders = [events, events[::-1], events[100:] + events[:100], events[::2] + events[1::2]]

    results = at_once(*[lambda order=order: send(AT, *order) for order in orders])

    assert sum(result.accepted for result in results) == 200
    assert sum(result.duplicates for result in results) == 600
    assert MeterEvent.objects.count() == 200


def test_aggregators_at_once_count_each_batch_once() -> None:
    for i in range(12):
        properties = {"model": f"m{i % 3}", "tokens": str(i + 1)}
        send(AT, an_event(f"e{i}", properties=properties))

    taken = at_once(*[lambda: aggregate_batches(at=AT)] * 4)

    # 1 + 2 + ... + 12 = 78; the largest of each model is 10, 11, 12.
    sums = UsageWindow.objects.filter(meter__code="tokens_sum").values_list("quantity", flat=True)
    largest = UsageWindow.objects.filter(meter__code="tokens_max")
    assert sum(taken) == 12
    assert sum(sums) == 78
    assert sorted(largest.values_list("quantity", flat=True)) == [10, 11, 12]


def test_a_batch_that_is_being_adjusted_is_left_for_later() -> None:
    customer = a_customer(AT)
    send(AT, an_event())

    with transaction.atomic():
        cancel_event(customer=customer, identifier="e1", reason="test", by=worker_user(), at=AT)
        taken = at_once(lambda: aggregate_batches(at=AT))

    assert taken == [0]
    assert aggregate_batches(at=AT) == 1
    assert not UsageWindow.objects.exists()


def test_adjusting_while_aggregating_loses_and_doubles_nothing() -> None:
    customer, by = a_customer(AT), worker_user()
    send(AT, *(an_event(f"e{i}") for i in range(20)))
    for i in range(20, 30):
        send(AT, an_event(f"e{i}"))

    def cancel() -> int:
        for i in range(0, 30, 3):  # 0, 3, ..., 27: ten events.
            cancel_event(customer=customer, identifier=f"e{i}", reason="test", by=by, at=AT)
        return 0

    def amend() -> int:
        properties = {"model": "haiku", "tokens": "1"}
        for i in range(1, 30, 3):  # 1, 4, ..., 28: ten events.
            amend_event(
                customer=customer, identifier=f"e{i}", properties=properties, reason="test",
                by=by, at=AT,
            )  # fmt: skip
        return 0

    at_once(cancel, amend, lambda: aggregate_batches(at=AT), lambda: aggregate_batches(at=AT))
    aggregate_batches(at=AT)

    # 10 cancelled, 10 amended to 1 token, 10 left at 100.
    window = UsageWindow.objects.get(meter__code="tokens_sum")
    assert (window.quantity, window.event_count) == (Decimal(1010), 20)
    assert not EventBatch.objects.filter(aggregated_at__isnull=True).exists()


def test_two_replays_at_once_store_each_event_once() -> None:
    by = worker_user()
    send(AT, *(an_event(f"e{i}", customer="acme-eu") for i in range(50)))
    add_alias(external_id="acme-eu", customer=a_customer(AT), reason="region", by=by, at=AT)

    results = at_once(*[lambda: replay_quarantine(by=by, at=AT)] * 3)

    assert sum(result.replayed for result in results) == 50
    assert sum(result.duplicates for result in results) == 0
    assert not QuarantinedEvent.objects.filter(state="open").exists()


def test_a_deadlock_is_tried_again_as_a_whole() -> None:
    attempts: list[int] = []

    @atomic_with_retries
    def unlucky(refusals: int) -> int:
        attempts.append(1)
        if len(attempts) <= refusals:
            with connection.cursor() as cursor:
                cursor.execute("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$")
        return len(attempts)

    assert unlucky(4) == 5
    attempts.clear()
    with pytest.raises(OperationalError):
        unlucky(9)
    assert len(attempts) == 5


def _wait_until_somebody_is_blocked() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        own = cursor.fetchone()[0]
        for _ in range(500):
            cursor.execute(
                "SELECT count(*) FROM pg_locks"
                " WHERE NOT granted AND %s = ANY (pg_blocking_pids(pid))",
                [own],
            )
            if cursor.fetchone()[0]:
                return
            cursor.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waits")
