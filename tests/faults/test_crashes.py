"""Servers and databases that are killed: what was acknowledged is stored, nothing twice."""

import random
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from metering.models import MeterEvent, UsageWindow
from tests.conftest import reset_database
from tests.faults.cluster import Cluster, own_cluster, served
from tests.faults.conftest import set_up_acme
from tests.faults.proxy import Fault, FaultProxy
from tests.faults.rig import (
    Event,
    Sender,
    Server,
    Traffic,
    aggregate_all,
    an_event,
    assert_books_hold,
)

pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.fixture(scope="module")
def cluster(django_db_blocker: DjangoDbBlocker) -> Iterator[Cluster]:
    """Run one cluster for the tests of this module."""
    with django_db_blocker.unblock(), own_cluster() as made:
        yield made


@pytest.fixture
def own_books(cluster: Cluster) -> Iterator[Cluster]:
    """Start from empty books in the own cluster; they hold at the end."""
    set_up_acme()
    yield cluster
    connection.close()
    assert_books_hold()
    reset_database()


def _assert_acked_is_stored(traffic: Traffic) -> None:
    connection.close()
    stored = list(MeterEvent.objects.values_list("identifier", flat=True))
    assert len(stored) == len(set(stored)), "an event was stored twice"
    assert set(traffic.acked) <= set(stored), "an acknowledged event is lost"
    assert set(stored) <= set(traffic.acked) | traffic.unacked


def _assert_all_once(traffic: Traffic) -> None:
    traffic.stop()
    _assert_acked_is_stored(traffic)
    traffic.send_rest()
    assert MeterEvent.objects.count() == len(traffic.acked)
    aggregate_all()
    window = UsageWindow.objects.filter(meter__code="tokens_sum")
    assert sum(window.values_list("quantity", flat=True)) == 100 * len(traffic.acked)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("is_killed", [True, False], ids=["kill-9", "cut"])
@pytest.mark.parametrize(("is_batch", "least"), [(False, 1), (True, 5)], ids=["single", "batch"])
def test_i9_g1_a_crash_between_any_two_statements_stores_at_most_once(
    own_books: Cluster, when: str, is_killed: bool, is_batch: bool, least: int
) -> None:
    """Sweep: end the server (or its line) around its first message to PostgreSQL, its second, ...

    Before the message nothing of it arrives; after it, its answer is lost.
    """
    with served(workers=1) as (server, sender, proxy):
        for step in range(1, 60):
            sender.deliver(an_event(f"warm-{when}-{is_killed}-{step}"))
            time.sleep(0.6)  # Whatever was cut before is forgotten.
            victim = server if is_killed else None
            event = an_event(f"{when}-{is_killed}-{step}")
            if not _strike(sender, proxy, victim, when, step, event, is_batch=is_batch):
                break
    assert least < step < 59, (
        "the sweep went through the statements of a request, and past the last"
    )


def _strike(
    sender: Sender,
    proxy: FaultProxy,
    victim: Server | None,
    when: str,
    step: int,
    event: Event,
    *,
    is_batch: bool,
) -> bool:
    """Send an event and end it at its n-th message; return whether there was one."""
    sent = {"events": [event]} if is_batch else event
    is_hit, is_over = threading.Event(), threading.Event()
    wanted = proxy.pieces["request"] + step

    def strike(direction: str, count: int) -> None:
        if direction == "request" and count == wanted:
            is_hit.set()
            if victim:
                victim.kill_workers()
            proxy.use(Fault(is_refused=True, cut_request_after=0, cut_answer_after=0))
            is_over.set()

    setattr(proxy, "on_piece" if when == "before" else "after_piece", strike)
    try:
        is_acked = sender.post(sent).status == 200
    except OSError:
        is_acked = False
    assert not is_hit.is_set() or is_over.wait(10)  # The sender may hear of it before it is over.
    proxy.on_piece = proxy.after_piece = lambda _direction, _count: None
    proxy.use(Fault())
    stored = MeterEvent.objects.filter(identifier=event["identifier"])
    assert stored.count() == 1 if is_acked else stored.count() <= 1
    content = sender.deliver(sent).content
    assert content.get("status") in {"accepted", "duplicate"} or (
        content["accepted"] + content["duplicates"] == 1
    )
    assert stored.count() == 1
    return is_hit.is_set()


def test_i9_workers_killed_at_random_under_load(own_books: Cluster) -> None:
    dice = random.Random(9)
    with served() as (server, sender, _), Traffic(sender) as traffic:
        for _ in range(8):
            traffic.wait_for(20)
            time.sleep(dice.random() / 2)
            server.kill_workers()
        traffic.wait_for(50)
        _assert_all_once(traffic)


def test_postgresql_stopped_immediately_under_load_loses_nothing(own_books: Cluster) -> None:
    with served() as (_, sender, _), Traffic(sender) as traffic:
        for _ in range(4):
            traffic.wait_for(50)
            own_books.crash()
            time.sleep(0.5)
            own_books.start()
        traffic.wait_for(50)
        _assert_all_once(traffic)
    assert traffic.refusals
    assert {answer.status for answer in traffic.refusals} == {503}
    assert all("Retry-After" in answer.headers for answer in traffic.refusals)


def test_a_killed_backend_loses_nothing(own_books: Cluster) -> None:
    with served() as (_, sender, _), Traffic(sender) as traffic:
        for _ in range(3):
            traffic.wait_for(50)
            own_books.kill_one_backend()
            time.sleep(0.5)
        traffic.wait_for(50)
        _assert_all_once(traffic)
    assert {answer.status for answer in traffic.refusals} <= {503}


def test_i17_a_database_that_is_down_is_answered_in_two_seconds_and_no_thread_piles_up(
    own_books: Cluster,
) -> None:
    with served() as (server, sender, _), Traffic(sender, lanes=12, pause=0.03) as traffic:
        traffic.wait_for(100)
        before = server.threads()
        own_books.crash()
        time.sleep(10)
        during = server.threads()
        slowest = max(answer.seconds for answer in traffic.refusals)
        refused = len(traffic.refusals)
        own_books.start()
        recovered = time.monotonic()
        traffic.wait_for(1)
        recovery = time.monotonic() - recovered
        traffic.wait_for(50)
        _assert_all_once(traffic)
    assert refused > 100
    assert {answer.status for answer in traffic.refusals} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in traffic.refusals)
    assert slowest < 2
    assert during <= before + 16, "eight threads of each process at most"
    assert recovery < 5


def test_i17_a_database_that_swallows_everything_is_answered_too(own_books: Cluster) -> None:
    """New connections meet a black hole: one trial at a time waits for it, the rest is told."""
    with served() as (server, sender, proxy):
        server.kill_workers()
        proxy.use(Fault(is_dark=True))
        server.wait_for_workers()
        with Traffic(sender, lanes=24) as traffic:
            time.sleep(10)
            seconds = sorted(answer.seconds for answer in traffic.refusals)
            proxy.use(Fault())
            traffic.wait_for(50)
            _assert_all_once(traffic)
    assert len(seconds) > 100
    assert {answer.status for answer in traffic.refusals} == {503}
    assert seconds[len(seconds) * 9 // 10] < 2
    assert seconds[-1] < 4


def test_i17_connections_that_are_all_taken_are_answered_in_two_seconds(
    own_books: Cluster,
) -> None:
    folder = own_books.embedded.start()
    address = f"host={folder} user=postgres dbname=postgres"
    with served() as (server, sender, _):
        server.kill_workers()
        connection.close()
        taken: list[psycopg.Connection] = []
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            _take_all(address, taken)
        server.wait_for_workers()
        with Traffic(sender) as traffic:
            time.sleep(5)
            refused = list(traffic.refusals)
            for one in taken:
                one.close()
            traffic.wait_for(50)
            _assert_all_once(traffic)
    assert len(refused) > 20
    assert {answer.status for answer in refused} == {503}
    assert max(answer.seconds for answer in refused) < 2


def _take_all(address: str, taken: list[psycopg.Connection]) -> None:
    while True:
        taken.append(psycopg.connect(address))
