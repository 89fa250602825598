"""An open loop: each request is due at its instant, and its latency counts from there.

A server that falls behind cannot slow the questions down.
"""

import asyncio
import os
import statistics
import time

from benchmarks.traffic import PORT
from billing_project.console import processes

CONNECTIONS = int(os.environ.get("OPEN_LOOP_CONNECTIONS", "32"))
_LENGTH = b"content-length: "


def request(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """Write one request with a key; a body is JSON."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {processes.HOST}", f"Authorization: Bearer {key}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def ask(requests: list[bytes], rate: int, seconds: int) -> list[float]:
    """Send so many seconds' requests at their instants; return seconds from each to its answer."""
    return asyncio.run(_ask_all([requests[n % len(requests)] for n in range(rate * seconds)], rate))


async def _ask_all(requests: list[bytes], rate: int) -> list[float]:
    """Each connection takes what is due next: a late answer delays no question, but the last."""
    due = iter(enumerate(requests))
    latencies: list[float] = []
    begin = time.perf_counter() + 0.1

    async def client() -> None:
        reader, writer = await asyncio.open_connection(processes.HOST, PORT)
        for number, one in due:
            instant = begin + number / rate
            await asyncio.sleep(max(0.0, instant - time.perf_counter()))
            writer.write(one)
            await _read(reader)
            latencies.append(time.perf_counter() - instant)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return latencies


async def _read(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise SystemExit(f"no answer: {head.splitlines()[0].decode()}")
    start = head.index(_LENGTH) + len(_LENGTH)
    await reader.readexactly(int(head[start : head.index(b"\r", start)]))


def words(latencies: list[float]) -> str:
    """Say how long answers took."""
    p50, p99 = (quantile(latencies, hundredth) * 1000 for hundredth in (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {max(latencies) * 1000:.0f} ms"


def quantile(latencies: list[float], hundredth: int) -> float:
    """Return the latency below which so many of a hundred lie, in seconds."""
    return statistics.quantiles(latencies, n=100, method="inclusive")[hundredth - 1]
