"""The HTTP server: `python -m billing_project.console.serving --port 8000 --workers 2`.

Granian reads HTTP in Rust and calls the WSGI application on a few threads of each worker process.
Docs: docs/decisions/0013-http-by-granian.md.
"""

import argparse
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

HOST = "127.0.0.1"
THREADS = 24  # Of a worker; each may hold a connection to the database.
_APPLICATION = "billing_project.wsgi:application"
_GRACE_SECONDS = 3  # For requests that are in hand when the server stops.
_HEAD_MILLISECONDS = 30_000  # For a request's head; an idle connection is kept as long.
_HEAD_BYTES = 64 * 1024
_IDLE_SECONDS = 600  # A thread is kept as long as its connection to the database.
_RESPAWN_SECONDS = 0.2
# A batch makes ten thousand objects that live for its 20 ms and refer to nothing that refers back:
# looking for cycles among them every 700 costs a tenth of the time and finds nothing.
_THRESHOLDS = (50_000, 20, 20)
# Threads that wait for PostgreSQL come back often; being made to yield to each of them after 5 ms
# costs more in switches than the wait of one batch's 20 ms.
_SWITCH_SECONDS = 0.02


class Server(MPServer):
    """Granian that starts a worker anew however often it is killed.

    Its own would end the whole server when a worker dies twice within six seconds.
    """

    def _respawn_workers(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(_RESPAWN_SECONDS)  # One that cannot start does not take the machine.
        super()._respawn_workers(*args, **kwargs)
        self.respawned_wrks.clear()


def make_server(port: int, workers: int) -> Server:
    """Set the server up; `serve` runs it."""
    return Server(
        _APPLICATION,
        address=HOST,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=THREADS,
        blocking_threads_idle_timeout=_IDLE_SECONDS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEAD_MILLISECONDS, max_buffer_size=_HEAD_BYTES
        ),
        websockets=False,
        log_level=LogLevels.error,
        respawn_failed_workers=True,
        workers_kill_timeout=_GRACE_SECONDS,
    )


def load(server: int, target: str) -> Callable[..., Any]:
    """Load the application in a worker, and leave it out of every later look for cycles.

    Args:
        server: The process that started this worker; it may be gone already.
    """
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    module, _, name = target.partition(":")
    application: Callable[..., Any] = getattr(import_module(module), name)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_SECONDS)
    return application


def _end_with(server: int) -> None:
    """End this worker when its server was killed: it would go on under the same port for ever."""
    while os.getppid() == server:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)  # Nobody hears the first while the application is being loaded.
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Read the command line and serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    asked = parser.parse_args()
    make_server(asked.port, asked.workers).serve(target_loader=partial(load, os.getpid()))


if __name__ == "__main__":
    main()
