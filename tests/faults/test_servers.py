"""A server whose processes are killed or told to stop: it comes back, and ends what it began."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable

import psutil
import pytest

from metering.models import MeterEvent
from tests.faults.rig import (
    Sender,
    Server,
    a_key,
    an_event,
    database_environment,
    serving,
)

pytestmark = [pytest.mark.integration]


def _wait(is_true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_workers_that_are_killed_again_and_again_are_started_again(books: None) -> None:
    with serving(database_environment()) as server:
        sender = Sender(server.port, a_key())
        for n in range(3):
            before = server.living()
            server.kill_workers()
            _wait(lambda before=before: _are_others(server, before))  # type: ignore[misc]
            assert sender.deliver({"events": [an_event(f"e{n}")]}).status == 200
        assert server.process.poll() is None


def _are_others(server: Server, before: set[int]) -> bool:
    now = server.living()
    return len(now) == 2 and not now & before


def test_workers_end_when_their_server_was_killed(transactional_db: None) -> None:
    with serving(database_environment()) as server:
        workers = server.workers()
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()

        _, alive = psutil.wait_procs(workers, timeout=10)

        assert alive == []


def test_a_request_that_is_on_its_way_is_answered_before_the_server_stops(
    books: None,
) -> None:
    with serving(database_environment()) as server:
        body = json.dumps({"events": [an_event("last")]}).encode()
        head = (
            "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {a_key()}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
            link.sendall(head.encode() + body[:10])
            time.sleep(0.5)
            os.kill(server.process.pid, signal.SIGTERM)
            time.sleep(0.5)
            link.sendall(body[10:])
            said = link.recv(64)
        server.process.wait(10)

    assert said.startswith(b"HTTP/1.1 200")
    assert MeterEvent.objects.get().identifier == "last"


def test_a_long_address_is_answered_by_a_problem(sender: Sender) -> None:
    answer = sender.ask("GET", f"/v1/usage?customer={'x' * 5000}")

    assert (answer.status, answer.headers["Content-Type"]) == (422, "application/problem+json")


@pytest.mark.parametrize(
    "framing", ["Content-Length: 5000", "Transfer-Encoding: chunked"], ids=["length", "chunked"]
)
def test_a_body_that_ends_early_is_stored_by_nobody(sender: Sender, framing: str) -> None:
    body = json.dumps(an_event("cut")).encode()
    piece = body if "Length" in framing else b"1000\r\n" + body[:-1]
    head = (
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {sender.key}\r\n{framing}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", sender.port), timeout=10) as link:
        link.sendall(head.encode() + piece)
        time.sleep(0.2)
    assert sender.post(an_event("after")).status == 200
    assert list(MeterEvent.objects.values_list("identifier", flat=True)) == ["after"]
