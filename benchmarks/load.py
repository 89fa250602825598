"""A load generator that leaves the machine to the server: one thread, many kept connections."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from billing_project.console import processes

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length: "


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
        return statistics.quantiles(self.latencies, n=100)[hundredth - 1]


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
        SystemExit: an answer other than 2xx.
    """
    return asyncio.run(_send_all(requests, port, connections))


async def _send_all(requests: Sequence[bytes], port: int, connections: int) -> Outcome:
    queue = list(reversed(requests))
    latencies: list[float] = []
    answers: list[bytes] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection(processes.HOST, port, limit=2**22)
        while queue:
            request = queue.pop()
            begin = time.perf_counter()
            writer.write(request)
            answers.append(await _answer(reader))
            latencies.append(time.perf_counter() - begin)
        writer.close()

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    return Outcome(time.perf_counter() - begin, tuple(latencies), tuple(answers))


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(_END_OF_HEAD)
    if not head.startswith(b"HTTP/1.1 2"):
        raise SystemExit(f"not every event was accepted: {head.splitlines()[0].decode()}")
    start = head.lower().index(_LENGTH) + len(_LENGTH)
    return await reader.readexactly(int(head[start : head.index(b"\r", start)]))
