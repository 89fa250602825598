"""Serve the back office and the API, with a worker beside them, until Ctrl-C."""

import os
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from billing_project.console import processes
from billing_project.console.tasks import ensure_schedules, ring_all


class Command(BaseCommand):
    help = "Serve the back office, the API and a worker until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("the database is not set up: run `make demo` first")
        ensure_schedules()
        ring_all()
        connection.close()
        try:
            self._serve(options["port"])
        except processes.NotReady as error:
            raise CommandError(str(error)) from error

    def _serve(self, port: int) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        processes.ensure_port_is_free(port)
        os.environ.setdefault("PUBLIC_URL", f"http://localhost:{port}/")
        with (
            processes.running(
                processes.server_command(port), "server", processes.server_environment(port)
            ) as server,
            processes.running(processes.worker_command(), "worker") as worker,
        ):
            processes.wait_until_ready(server, port)
            address = f"http://{processes.HOST}:{port}"
            self.stdout.write(f"Back office  {address}/admin/   API  {address}/v1/docs")
            self.stdout.write("Ctrl-C stops the server and the worker.")
            self.stdout.flush()
            while not stop.wait(1):
                if server.poll() is not None or worker.poll() is not None:
                    raise processes.NotReady("the server or the worker ended; see .local/*.log")
