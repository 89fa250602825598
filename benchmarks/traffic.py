"""Usage as senders report it, and the server that takes it in."""

import json
import statistics
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psutil

from benchmarks.setting import EVENT_NAME, MODELS, make_meters
from billing_project.console import processes
from billing_project.kernel.keys import create_api_key

PORT, BATCH, CUSTOMERS = 8765, 1_000, 200
Event = dict[str, object]


class Server:
    """A running HTTP server as `manage.py serve` starts it."""

    def __init__(self, pid: int) -> None:
        self.processes = psutil.Process(pid).children()

    def megabytes(self) -> int:
        """Return the resident memory of the largest of its processes, in MiB."""
        return max(process.memory_info().rss for process in self.processes) // 2**20


@contextmanager
def server() -> Iterator[Server]:
    """Run the HTTP server at PORT."""
    with processes.running(
        processes.server_command(PORT), "bench-server", processes.server_environment(PORT)
    ) as process:
        processes.wait_until_ready(process, PORT)
        yield Server(process.pid)


def set_up() -> str:
    """Make a fresh database with customers and meters, and return an API key."""
    make_meters([f"c-{number}" for number in range(CUSTOMERS)])
    return create_api_key(name="bench", scopes=["events:write"], at=datetime.now(UTC))[1]


def events(count: int, start: datetime) -> list[Event]:
    """Return so many events with random identifiers, a millisecond apart."""
    return [
        {
            "event_name": EVENT_NAME,
            "identifier": uuid.uuid4().hex,
            "customer": f"c-{n % CUSTOMERS}",
            "timestamp": (start + timedelta(milliseconds=n)).isoformat(),
            "properties": {
                "model": MODELS[n % 2],
                "input_tokens": str(1000 + n % 977),
                "cached_input_tokens": str(n % 512),
                "output_tokens": str(n % 331),
            },
        }
        for n in range(count)
    ]


def batches(found: Sequence[Event]) -> Iterator[bytes]:
    """Yield bodies of 1,000 events each."""
    for first in range(0, len(found), BATCH):
        yield json.dumps({"events": found[first : first + BATCH]}).encode()


def middle(figures: Sequence[float]) -> float:
    """Return the median of the rounds."""
    return statistics.median(figures)


def runs(figures: Sequence[float]) -> str:
    """Write the figure of each round."""
    return ", ".join(f"{figure:,.0f}" for figure in figures)
