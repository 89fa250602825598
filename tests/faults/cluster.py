"""A PostgreSQL of one's own, to kill and to fill, with Django pointed at it."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from billing_project.kernel.embedded.server import SUPERUSER, EmbeddedServer
from metering.services import storing
from tests.faults.proxy import FaultProxy, proxying
from tests.faults.rig import (
    Sender,
    Server,
    a_key,
    database_environment,
    database_upstream,
    serving,
)


@dataclass(frozen=True)
class Cluster:
    """The server whose data is in `data`."""

    data: Path

    @property
    def embedded(self) -> EmbeddedServer:
        """Its start and stop."""
        return EmbeddedServer(self.data)

    def crash(self) -> None:
        """Stop at once, without a checkpoint: the next start recovers from the WAL."""
        self.embedded.stop("immediate")

    def start(self) -> None:
        """Start, and recover if need be."""
        self.embedded.start()

    def kill_one_backend(self) -> None:
        """Kill a process that serves a connection; PostgreSQL then restarts all of them."""
        postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
        serving = [
            child
            for child in postmaster.children()
            if any("127.0.0.1" in word or "[local]" in word for word in child.cmdline())
        ]
        os.kill(serving[0].pid, signal.SIGKILL)


@contextmanager
def own_cluster(data: Path | None = None) -> Iterator[Cluster]:
    """Make a migrated cluster, point Django at it, and leave nothing behind.

    Args:
        data: Where else than in a new folder; pytest's own close themselves to other users.
    """
    home = Path(tempfile.mkdtemp(prefix="billing-faults-"))
    data = data or home / "data"
    cluster = Cluster(data)
    folder = cluster.embedded.start()
    is_embedded = connection.settings_dict["ENGINE"] == settings.EMBEDDED_ENGINE
    place = {"HOST": str(data if is_embedded else folder), "NAME": SUPERUSER, "USER": SUPERUSER}
    try:
        with _pointed(place):
            call_command("migrate", verbosity=0)
            yield cluster
    finally:
        cluster.embedded.stop("immediate")
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def served(workers: int = 2) -> Iterator[tuple[Server, Sender, FaultProxy]]:
    """Serve the database that Django uses now over TCP, with a proxy between."""
    key = a_key()
    with (
        proxying(database_upstream()) as proxy,
        serving(database_environment(proxy.port), workers) as server,
    ):
        yield server, Sender(server.port, key, timeout=10), proxy


@contextmanager
def _pointed(place: Mapping[str, str]) -> Iterator[None]:
    """Point Django's connection elsewhere; other threads follow, as they share its settings."""
    before = dict(connection.settings_dict)
    months = set(storing._known_months)
    connection.close()
    connection.settings_dict.update(place)
    storing._known_months.clear()
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)
        storing._known_months.clear()
        storing._known_months.update(months)
