"""Real parts to break: the HTTP server as it is started in life, and senders that talk to it."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import psutil
from django.conf import settings
from django.core.management import call_command, get_commands
from django.db import connection
from django.utils.datastructures import CaseInsensitiveMapping

from billing_project.console import processes
from billing_project.kernel.books import run_checks
from billing_project.kernel.embedded.server import EmbeddedServer
from billing_project.kernel.keys import create_api_key
from metering.services.aggregate import aggregate_batches
from tests.faults.proxy import Upstream

T = TypeVar("T")
Event = dict[str, Any]
_SOCKET = ".s.PGSQL.5432"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: Any
    seconds: float


@dataclass(frozen=True)
class Server:
    """A running HTTP server."""

    port: int
    process: subprocess.Popen[bytes]

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes."""
        return psutil.Process(self.process.pid).children()

    def memory(self) -> int:
        """Return the most bytes that a worker ever had resident."""
        return max(_of_living(self.workers(), _peak))

    def threads(self) -> int:
        """Return the threads of all workers."""
        return sum(_of_living(self.workers(), lambda one: one.num_threads()))

    def living(self) -> set[int]:
        """Return the ids of the worker processes that run, without those that only wait to end."""
        told = _of_living(self.workers(), lambda one: (one.pid, one.status()))
        return {pid for pid, status in told if status != psutil.STATUS_ZOMBIE}

    def kill_workers(self) -> None:
        """End the workers as a crash would; the master starts others."""
        _of_living(self.workers(), lambda one: one.kill())

    def wait_for_workers(self, seconds: float = 60) -> None:
        """Return once a worker answers, with or without a database; on a busy machine it takes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                url = f"http://127.0.0.1:{self.port}/healthz"
                with urllib.request.urlopen(url, timeout=1):
                    return
            time.sleep(0.1)
        raise TimeoutError("no worker answers")


@dataclass(frozen=True)
class Sender:
    """A client with a key; a new connection for each request."""

    port: int
    key: str
    timeout: float = 30

    def post(self, content: object) -> Answer:
        """Send one event or a batch; OSError or HTTPException where no answer came."""
        return self.ask("POST", "/v1/events", json.dumps(content).encode())

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send any request of the API."""
        start = time.monotonic()
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        common = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            link.request(method, path, body, {**common, **(headers or {})})
            response = link.getresponse()
            text = response.read()
        finally:
            link.close()
        content = json.loads(text) if text[:1] in b"{[" else text.decode(errors="replace")
        headers = CaseInsensitiveMapping(dict(response.headers))
        return Answer(response.status, headers, content, time.monotonic() - start)

    def deliver(self, content: object, seconds: float = 60) -> Answer:
        """Send until somebody acknowledges it, as a careful sender does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                answer = self.post(content)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if answer.status < 500 and answer.status != 429:
                return answer
            time.sleep(0.02)
        raise AssertionError("nobody acknowledged the event")


class Traffic:
    """Senders that go on whatever happens, and a journal of what was acknowledged.

    Half of what was not acknowledged is never sent again, so that "at most once" is seen too.
    """

    def __init__(self, sender: Sender, lanes: int = 6, pause: float = 0.01) -> None:
        self.sender, self.lanes, self.pause = sender, lanes, pause
        self.acked: dict[str, str] = {}
        self.unacked: set[str] = set()
        self.refusals: list[Answer] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(lanes)

    def __enter__(self) -> "Traffic":
        self._jobs = [self._pool.submit(self._send_on, lane) for lane in range(self.lanes)]
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let every sender finish what it is at."""
        self._stop.set()
        self._pool.shutdown()
        for job in self._jobs:
            job.result()

    def wait_for(self, count: int, seconds: float = 60) -> None:
        """Return once so many more events are acknowledged."""
        wanted, deadline = len(self.acked) + count, time.monotonic() + seconds
        while len(self.acked) < wanted:
            assert time.monotonic() < deadline, "nobody acknowledges any more"
            time.sleep(0.01)

    def send_rest(self) -> None:
        """Deliver everything that was not acknowledged."""
        rest = sorted(self.unacked)
        for start in range(0, len(rest), 500):
            batch = [an_event(identifier) for identifier in rest[start : start + 500]]
            answer = self.sender.deliver({"events": batch})
            done = answer.content["accepted"] + answer.content["duplicates"]
            assert (answer.status, done) == (200, len(batch))
            self.acked.update((one["identifier"], "late") for one in batch)

    def _send_on(self, lane: int) -> None:
        serial = 0
        while not self._stop.is_set():
            count = 5 if serial % 2 else 1
            events = [an_event(f"t-{lane}-{serial}-{n}") for n in range(count)]
            self._send(events, is_sent_again=serial % 4 < 2)
            serial += 1
            time.sleep(self.pause)

    def _send(self, events: list[Event], *, is_sent_again: bool) -> None:
        for _ in range(2 if is_sent_again else 1):
            try:
                answer = self.sender.post({"events": events} if len(events) > 1 else events[0])
            except (OSError, http.client.HTTPException):
                continue
            if answer.status == 200:
                with self._lock:
                    self.acked.update((one["identifier"], "now") for one in events)
                return
            with self._lock:
                self.refusals.append(answer)
        with self._lock:
            self.unacked.update(one["identifier"] for one in events)


def an_event(identifier: str, **changes: Any) -> Event:
    """Return a report of 100 tokens by acme, as JSON says it."""
    properties = {"model": "haiku", "tokens": "100"}
    event = {"event_name": "llm_request", "identifier": identifier, "customer": "acme"}
    return {**event, "properties": properties, **changes}


def a_key(*scopes: str) -> str:
    """Make a key of its own in the database that Django uses now."""
    chosen = scopes or ("events:write", "usage:read")
    return create_api_key(name="faults", scopes=chosen, at=datetime.now(UTC))[1]


def database_upstream() -> Upstream:
    """Return where the database that Django uses now can be reached."""
    if settings.DATABASES["default"]["ENGINE"] == settings.EMBEDDED_ENGINE:
        folder = EmbeddedServer(Path(connection.settings_dict["HOST"])).start()
        return str(folder / _SOCKET)
    host = connection.settings_dict["HOST"] or "127.0.0.1"
    return host, int(connection.settings_dict["PORT"] or 5432)


def database_environment(port: int | None = None) -> dict[str, str]:
    """Point another process at the database that Django uses now, if asked through a port."""
    own = connection.settings_dict
    if port is None and own["ENGINE"] == settings.EMBEDDED_ENGINE:
        names = {"EMBEDDED_PG_DATA": str(own["HOST"]), "EMBEDDED_PG_NAME": str(own["NAME"])}
        return {**names, "DATABASE_URL": ""}
    login = quote(own["USER"] or "postgres") + (
        f":{quote(own['PASSWORD'])}" if own["PASSWORD"] else ""
    )
    address = f"127.0.0.1:{port}" if port else f"{own['HOST']}:{own['PORT'] or 5432}"
    return {"DATABASE_URL": f"postgresql://{login}@{address}/{own['NAME']}"}


@contextmanager
def serving(environment: Mapping[str, str], workers: int = 2) -> Iterator[Server]:
    """Run the server as `manage.py serve` does, on a free port."""
    port = free_port()
    variables = {**environment, **processes.server_environment(port)}
    name = f"faults-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    command = processes.server_command(port, workers)
    with processes.running(command, name, variables) as process:
        processes.wait_until_ready(process, port)
        yield Server(port, process)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def at_once(jobs: Sequence[Callable[[], T]], *, is_connected: bool = False) -> list[T]:
    """Run jobs on threads of their own, started together.

    Args:
        is_connected: Each job starts with its own connection to the database.
    """
    start = threading.Barrier(len(jobs))

    def run(job: Callable[[], T]) -> T:
        try:
            if is_connected:
                connection.ensure_connection()
            start.wait(30)
            return job()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def assert_books_hold() -> None:
    """Hold what every fault must leave: all counted, no finding, a replay without difference."""
    aggregate_all()
    assert [one for result in run_checks() for one in result.findings] == []
    if "replay" in get_commands():
        call_command("replay", all=True)


def aggregate_all() -> None:
    """Bring every stored batch into its windows."""
    while aggregate_batches(at=datetime.now(UTC)):
        pass


def _peak(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status")
    try:
        lines = status.read_text().splitlines()
    except OSError:  # No Linux, or it has ended: what it has now.
        return int(process.memory_info().rss)
    peaks = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(next(peaks, 0)) * 1024  # One that only waits to end tells none.


def _of_living(workers: Sequence[psutil.Process], ask: Callable[[psutil.Process], T]) -> list[T]:
    found = []
    for worker in workers:
        try:
            found.append(ask(worker))
        except psutil.NoSuchProcess:
            continue
    return found
