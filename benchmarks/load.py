"""A load generator that leaves the machine to the server: one thread, many kept connections.

It shares the processors with what it measures, so it does little: requests are bytes made
beforehand, and of an answer it reads the status, the length and, unread, the body.
"""

import select
import socket
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from billing_project.console import processes

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "
_MOST_READ = 1 << 20
_SILENCE_SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """What a run answered; times in seconds."""

    seconds: float
    latencies: tuple[float, ...]
    answers: tuple[bytes, ...]  # Bodies, in no order.

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, hundredth: int) -> float:
        """Return the latency that this many hundredths of the answers stay below."""
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[hundredth - 1]


def post(path: str, body: bytes, key: str) -> bytes:
    """Write a whole request beforehand, so that sending it costs next to nothing."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {processes.HOST}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send_all(requests: Sequence[bytes], port: int, connections: int) -> Outcome:
    """Send every request over so many connections, each waiting for its answer before the next.

    Raises:
        SystemExit: an answer other than 2xx, or none for a minute.
    """
    waiting = deque(requests)
    latencies: list[float] = []
    answers: list[bytes] = []
    poll = select.epoll()
    links = {}
    begin = time.perf_counter()
    for _ in range(min(connections, len(requests))):
        link = _Link(port)
        links[link.number] = link
        poll.register(link.number, link.start(waiting.popleft()))
    while links:
        ready = poll.poll(_SILENCE_SECONDS)
        if not ready:
            raise SystemExit("the server says nothing any more")
        for number, events in ready:
            link = links[number]
            if events & select.EPOLLOUT:
                poll.modify(number, link.send())
                continue
            answer = link.receive()
            if answer is None:
                continue
            answers.append(answer)
            latencies.append(time.perf_counter() - link.begun)
            if not waiting:
                links.pop(number).close()
            elif (wanted := link.start(waiting.popleft())) != select.EPOLLIN:
                poll.modify(number, wanted)
    seconds = time.perf_counter() - begin
    poll.close()
    return Outcome(seconds, tuple(latencies), tuple(answers))


class _Link:
    """One kept connection with one request on its way."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((processes.HOST, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self.number = self._socket.fileno()
        self.begun = 0.0
        self._rest = memoryview(b"")
        self._answer = b""

    def start(self, request: bytes) -> int:
        """Send as much of a request as goes; return what to wait for."""
        self._rest, self.begun = memoryview(request), time.perf_counter()
        return self.send()

    def send(self) -> int:
        """Send on; return what to wait for."""
        try:
            self._rest = self._rest[self._socket.send(self._rest) :]
        except BlockingIOError:
            return select.EPOLLOUT
        return select.EPOLLOUT if self._rest else select.EPOLLIN

    def receive(self) -> bytes | None:
        """Read what is there; return the body once it is whole.

        Raises:
            SystemExit: an answer other than 2xx, or the end of the connection.
        """
        read = self._socket.recv(_MOST_READ)
        answer = self._answer = self._answer + read
        head_end = answer.find(_END_OF_HEAD)
        if head_end < 0:
            if not read:
                raise SystemExit("the server hung up")
            return None
        if not answer.startswith(b"HTTP/1.1 2"):
            raise SystemExit(f"not every event was accepted: {answer.splitlines()[0].decode()}")
        head = answer[:head_end].lower() + b"\r"
        start = head.index(_LENGTH) + len(_LENGTH)
        first = head_end + len(_END_OF_HEAD)
        end = first + int(head[start : head.index(b"\r", start)])
        if len(answer) < end:
            if not read:
                raise SystemExit("the server hung up")
            return None
        self._answer = b""
        return answer[first:end]

    def close(self) -> None:
        """End the connection."""
        self._socket.close()
