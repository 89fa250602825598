"""Bodies that are too much, on raw sockets: 413 at once, and a server that stays small."""

import json
import socket
import time
import zlib
from collections.abc import Iterator
from functools import partial

import pytest

from metering.models import MeterEvent
from tests.faults.proxy import Fault, proxying
from tests.faults.rig import Answer, Sender, Server, a_key, an_event, at_once

pytestmark = [pytest.mark.integration]

MIB = 1024 * 1024
MOST_MEMORY = 300 * MIB
_SECONDS = 5  # "At once", on a machine that does other things too.


def _head(sender: Sender, *headers: str) -> bytes:
    lines = [
        "POST /v1/events HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {sender.key}",
        "Content-Type: application/json",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _zeros(total: int) -> Iterator[bytes]:
    for _ in range(total // MIB):
        yield b"0" * MIB


def _chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def _talk(port: int, head: bytes, body: Iterator[bytes]) -> tuple[int, float]:
    """Send until the server answers or everything is sent; return status and seconds."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        link.sendall(head)
        link.settimeout(0.5)
        for piece in body:
            try:
                link.sendall(piece)
            except OSError:
                break  # It does not take more: the answer is there.
        link.settimeout(30)
        status = int(link.recv(64).split(b" ", 2)[1])
    return status, time.monotonic() - start


def test_i10_a_declared_length_is_refused_before_anything_is_read(sender: Sender) -> None:
    head = _head(sender, f"Content-Length: {100 * MIB}")

    status, seconds = _talk(sender.port, head, iter([]))

    assert status == 413
    assert seconds < _SECONDS


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_i10_a_hundred_mebibytes_are_refused(
    server: Server, sender: Sender, is_chunked: bool
) -> None:
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {100 * MIB}"
    body = _zeros(100 * MIB)

    status, seconds = _talk(
        sender.port, _head(sender, framing), _chunks(body) if is_chunked else body
    )

    assert status == 413
    assert seconds < _SECONDS
    assert server.memory() < MOST_MEMORY


def test_i10_more_than_a_thousand_events_are_refused(sender: Sender) -> None:
    answer = sender.post({"events": [an_event(f"e{n}") for n in range(1001)]})

    assert answer.status == 422
    assert not MeterEvent.objects.exists()


def _bomb(total: int) -> bytes:
    """Compress zeros, a thousand to one: 10 MiB become 10 GiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(b"0" * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = [packer.compress(b"0" * MIB) + packer.flush(zlib.Z_FULL_FLUSH)]
    return first + packed[0] * (total // MIB - 1) + packer.flush()


@pytest.mark.parametrize("total", [100 * MIB, 4096 * MIB, 10240 * MIB], ids=["0.1", "4", "10"])
def test_i11_a_gzip_bomb_is_refused_and_takes_no_memory(
    server: Server, sender: Sender, total: int
) -> None:
    before, body = server.memory(), _bomb(total)
    head = _head(sender, f"Content-Length: {len(body)}", "Content-Encoding: gzip")

    answers = at_once([lambda: _talk(sender.port, head, iter([body]))] * 4)

    assert {status for status, _ in answers} == {413}
    assert max(seconds for _, seconds in answers) < _SECONDS
    assert server.memory() - before < 100 * MIB
    assert server.memory() < MOST_MEMORY


def _largest(serial: int) -> bytes:
    """Return a batch of all that is allowed: 1,000 events of 5 kB each, 64 properties."""
    filler = {f"p{n:02}": "x" * 69 for n in range(62)}
    events = [
        an_event(f"big-{serial}-{n}", properties={"model": "m", "tokens": "1", **filler})
        for n in range(1000)
    ]
    body = json.dumps({"events": events}, separators=(",", ":")).encode()
    assert 4 * MIB < len(body) <= 5 * MIB
    return body


def _deliver_largest(sender: Sender, lane: int, count: int) -> list[Answer]:
    """Deliver batches of the largest size; who is asked to come again does."""
    answers = []
    for n in range(count):
        body, answer = _largest(lane * 100 + n), None
        while answer is None or answer.status == 503:
            answer = sender.ask("POST", "/v1/events", body)
            assert answer.status == 200 or "Retry-After" in answer.headers
        answers.append(answer)
    return answers


@pytest.mark.long
def test_i11_the_largest_bodies_at_once_stay_within_memory(server: Server, sender: Sender) -> None:
    """Sixteen threads serve: sixteen of the largest legal batches at once, twice."""
    lanes = at_once([partial(_deliver_largest, sender, n, 2) for n in range(16)])

    accepted = sum(answer.content["accepted"] for lane in lanes for answer in lane)
    assert MeterEvent.objects.count() == accepted == 32_000
    assert server.memory() < MOST_MEMORY


_HOARDS = {
    "a million lists": b"[" + b"[]," * 1_700_000 + b"[]]",
    "a million items": b'{"events":[' + b"{}," * 1_700_000 + b"{}]}",
    "two million zeros": b'{"events":[' + b"0," * 2_500_000 + b"0]}",
    "items that need mending": b'{"events":[NaN,' + b"{}," * 1_700_000 + b"{}]}",
    "a third of a million names": json.dumps({f"k{n}": 1 for n in range(350_000)}).encode(),
}


@pytest.mark.parametrize("name", _HOARDS)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/customers"])
def test_i12_bodies_of_nothing_but_parts_take_no_memory(
    server: Server, sender: Sender, path: str, name: str
) -> None:
    key = a_key("admin")
    jobs = [partial(Sender(sender.port, key).ask, "POST", path, _HOARDS[name])] * 4

    answers = at_once(jobs)

    assert {answer.status for answer in answers} <= {413, 422, 503}
    assert server.memory() < MOST_MEMORY


def test_i15_what_is_no_http_is_no_failure(server: Server, sender: Sender) -> None:
    lines = [
        b"GET /v1/events?customer=\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x00\x00\x00\x00\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\x00\r\n\r\n",
    ]
    for line in lines:
        with socket.create_connection(("127.0.0.1", sender.port), timeout=10) as link:
            link.sendall(line)
            link.shutdown(socket.SHUT_WR)
            said = link.recv(64)
        assert not said.startswith(b"HTTP/1.1 5"), (line[:60], said)
    assert sender.post(an_event("after")).status == 200


@pytest.mark.long
def test_slow_senders_do_not_keep_others_out(server: Server, sender: Sender) -> None:
    """Thirty senders that say nothing, more than there are threads."""
    silent = [socket.create_connection(("127.0.0.1", sender.port)) for _ in range(30)]
    try:
        assert sender.deliver(an_event("others"), seconds=20).status == 200
    finally:
        for link in silent:
            link.close()


def test_a_chunked_body_that_drips_is_stored_once(sender: Sender) -> None:
    body = json.dumps(an_event("drip")).encode()

    with proxying(("127.0.0.1", sender.port)) as proxy:
        proxy.use(Fault(piece=16, latency=0.005))
        answer = Sender(proxy.port, sender.key).ask(
            "POST", "/v1/events", iter([body[:50], body[50:]])
        )

    assert (answer.status, MeterEvent.objects.count()) == (200, 1)
