"""Start and stop the HTTP server and the worker as processes of their own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from django.conf import settings

from billing_project.console.serving import HOST as HOST

_READY_SECONDS = 60
_STOP_SECONDS = 4  # The worker may be inside its minute of work; killing it loses nothing.


class NotReady(RuntimeError):
    """A process ended, or did not answer in time; the message is for the console."""


def ensure_port_is_free(port: int) -> None:
    """Refuse early when somebody else listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise NotReady(f"port {port} is taken; choose another one: PORT={port + 1}") from error


def server_command(port: int, workers: int = 2) -> list[str]:
    """Return the command line of the HTTP server."""
    return [
        sys.executable, "-m", "billing_project.console.serving",
        "--port", str(port), "--workers", str(workers),
    ]  # fmt: skip


def worker_command() -> list[str]:
    """Return the command line of the worker."""
    return [sys.executable, "manage.py", "qcluster"]


def server_environment(port: int) -> dict[str, str]:
    """Give the server's workers one empty folder to add up their metrics in; the port is free."""
    folder = settings.LOCAL_DIR / "metrics" / str(port)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Threads that share one heap give back what one large body took of it.
    return {"PROMETHEUS_MULTIPROC_DIR": str(folder), "MALLOC_ARENA_MAX": "2"}


@contextmanager
def running(
    command: Sequence[str], log_name: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in its own process group, its output in `.local/<log_name>.log`.

    Args:
        environment: Variables besides those of this process.
    """
    settings.LOCAL_DIR.mkdir(exist_ok=True)
    with (settings.LOCAL_DIR / f"{log_name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command,
            cwd=settings.BASE_DIR,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _stop(process)


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Return once /readyz answers 200.

    Raises:
        NotReady: the server ended, or a minute passed.
    """
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotReady("the server ended; see .local/server.log")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise NotReady("the server did not become ready within a minute; see .local/server.log")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signal_number)
            process.wait(timeout=_STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        if signal_number == signal.SIGTERM:
            _kill_group(process.pid)
        return


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
