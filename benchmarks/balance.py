"""GET balance at a fixed rate, whatever it costs, beside /healthz of the same server at that rate.

An open loop: each request is due at its instant, and its latency counts from there, so that a
server which falls behind cannot slow the questions down. 200 customers with a day of rated usage.
"""

import asyncio
import os
import statistics
import time
from datetime import UTC, datetime, timedelta

from django.db import connection

from benchmarks.cpu import postmaster, seconds_of
from benchmarks.crowd import last_hour, make_crowd, use
from benchmarks.traffic import PORT
from billing_project.console import processes
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from credits.services.rating import rate_pending

CUSTOMERS = int(os.environ.get("BALANCE_CUSTOMERS", "200"))
HOURS = int(os.environ.get("BALANCE_HOURS", "24"))
RATE = int(os.environ.get("BALANCE_RATE", "300"))  # Requests a second.
SECONDS = int(os.environ.get("BALANCE_SECONDS", "20"))
WARM_SECONDS = int(os.environ.get("BALANCE_WARM_SECONDS", "5"))
CONNECTIONS = int(os.environ.get("BALANCE_CONNECTIONS", "32"))
GOAL_MILLISECONDS = 25
_LENGTH = b"content-length: "


def run() -> None:
    """Measure, and print one line a figure."""
    make_crowd(CUSTOMERS)
    use(CUSTOMERS, last_hour() - timedelta(hours=HOURS - 1), hours=HOURS)
    rate_pending(by=User.objects.get(username="bench"), at=datetime.now(UTC))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("SELECT count(*) FROM ledger_transaction")
        entries = cursor.fetchone()[0] // CUSTOMERS
    key = create_api_key(name="bench", scopes=["usage:read"], at=datetime.now(UTC))[1]
    names = [f"c-{number}" for number in range(1, CUSTOMERS + 1)]
    balances = [_get(f"/v1/customers/{name}/balance", key) for name in names]
    with processes.running(
        processes.server_command(PORT), "bench-server", processes.server_environment(PORT)
    ) as server:
        processes.wait_until_ready(server, PORT)
        _ask(balances, WARM_SECONDS)
        roles = {"server": server.pid, "database": postmaster(), "load": os.getpid()}
        before = seconds_of(roles)
        ours, after = _ask(balances, SECONDS), seconds_of(roles)
        nothing = _ask([_get("/healthz", key)], SECONDS)
    print(f"balance at {RATE} requests/s, {entries} ledger entries a customer: {_words(ours)}")
    print(f"  /healthz of the same server at that rate: {_words(nothing)}")
    ratio = _quantile(ours, 99) * 1000 / GOAL_MILLISECONDS
    print(f"  ratio to the goal of {GOAL_MILLISECONDS} ms: {ratio:.0%}")
    cpu = ", ".join(f"{role} {(after[role] - before[role]) / SECONDS:.2f}" for role in roles)
    print(f"  CPU seconds a second: {cpu}")


def _get(path: str, key: str) -> bytes:
    head = f"GET {path} HTTP/1.1\r\nHost: {processes.HOST}\r\nAuthorization: Bearer {key}\r\n\r\n"
    return head.encode()


def _ask(requests: list[bytes], seconds: int) -> list[float]:
    """Send so many seconds' requests at their instants; return seconds from each to its answer."""
    return asyncio.run(_ask_all([requests[n % len(requests)] for n in range(RATE * seconds)]))


async def _ask_all(requests: list[bytes]) -> list[float]:
    """Each connection takes what is due next: a late answer delays no question, but the last."""
    due = iter(enumerate(requests))
    latencies: list[float] = []
    begin = time.perf_counter() + 0.1

    async def client() -> None:
        reader, writer = await asyncio.open_connection(processes.HOST, PORT)
        for number, request in due:
            instant = begin + number / RATE
            await asyncio.sleep(max(0.0, instant - time.perf_counter()))
            writer.write(request)
            await _read(reader)
            latencies.append(time.perf_counter() - instant)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return latencies


async def _read(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise SystemExit(f"no balance: {head.splitlines()[0].decode()}")
    start = head.index(_LENGTH) + len(_LENGTH)
    await reader.readexactly(int(head[start : head.index(b"\r", start)]))


def _words(latencies: list[float]) -> str:
    p50, p99 = (_quantile(latencies, hundredth) * 1000 for hundredth in (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {max(latencies) * 1000:.0f} ms"


def _quantile(latencies: list[float], hundredth: int) -> float:
    return statistics.quantiles(latencies, n=100)[hundredth - 1]
