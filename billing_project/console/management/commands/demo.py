"""The main job: a month of real traffic through the whole chain, then the back office."""

import json
import logging
import os
import sys
import time
from argparse import ArgumentParser
from contextlib import ExitStack
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from billing_project.console import processes
from billing_project.console.demo import report, setting, story
from billing_project.console.demo.cast import Cast
from billing_project.console.demo.database import make_fresh_database
from billing_project.console.demo.errors import DemoRefused
from billing_project.console.demo.through_stripe import fake_stripe
from billing_project.console.tasks import ensure_schedules
from billing_project.kernel import clock
from billing_project.kernel.books import Result, run_checks
from billing_project.kernel.embedded.server import EmbeddedServer
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User

PASSWORD = "demo-password"  # noqa: S105 - printed, and refused where DEBUG=False
EXPECTED_WORK = 40_150  # Events sent, usage rated and entries posted: what the bar counts.


class Command(BaseCommand):
    help = "Run a month of real LLM traffic through the whole chain, then serve the back office."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--no-serve", action="store_true", help="stop after the main job")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("the demo makes people with known passwords; it needs DEBUG=True")
        server = _embedded_server()
        was_running = server is None or server.is_running()
        try:
            with fake_stripe(options["port"]):
                logging.disable(logging.WARNING)  # The report tells it; faults are still said.
                self._run(options["port"])
                logging.disable(logging.NOTSET)
                connection.close()
                if not options["no_serve"]:
                    call_command("serve", port=options["port"])
        except (DemoRefused, processes.NotReady) as error:
            raise CommandError(str(error)) from error
        finally:
            connection.close()
            if options["no_serve"] and server and not was_running:
                server.stop()

    def _run(self, port: int) -> None:
        console = Console(file=sys.stdout)
        processes.ensure_port_is_free(port)
        told = story.Story()
        with told.stage("set up"):
            console.print("Making a fresh database ...")
            make_fresh_database()
            call_command("setup_roles", demo=True, password=PASSWORD, stdout=StringIO())
        started = time.monotonic()
        at = clock.now()
        with told.stage("prepare"):
            scene = setting.prepare(_cast(), story.last_30_days(at), at)
            _, key = create_api_key(name="demo", scopes=["events:write", "usage:read"], at=at)
        connection.close()
        processes.ensure_port_is_free(port)  # Somebody may have taken it: that was a while ago.
        with ExitStack() as stack:
            server = stack.enter_context(
                processes.running(processes.server_command(port), "server")
            )
            processes.wait_until_ready(server, port)
            bar = stack.enter_context(_progress(console))
            task = bar.add_task("A month of traffic", total=EXPECTED_WORK)
            url = f"http://{processes.HOST}:{port}"
            story.tell(scene, url, key, at, told, lambda done: bar.advance(task, done))
            with told.stage("check the books"):
                checks = list(run_checks())
            with told.stage("replay"):
                _replay()
            bar.update(task, completed=EXPECTED_WORK)
        told.seconds["whole job"] = round(time.monotonic() - started, 2)
        ensure_schedules()
        self._finish(console, told, checks, at)

    def _finish(
        self, console: Console, told: story.Story, checks: list[Result], at: datetime
    ) -> None:
        figures = report.build_report(told, checks, at)
        path = Path(settings.LOCAL_DIR) / "demo.json"
        path.write_text(json.dumps(figures, indent=1) + "\n")
        report.show(figures, report.trace_of(told), console)
        for result in checks:
            for finding in result.findings:
                console.print(f"[red]{result.title}: {finding.subject}: {finding.message}")
        if any(result.findings for result in checks):
            raise DemoRefused("the books do not hold; see the findings above")
        console.print(
            "Invoiced less the credit notes"
            + (" and what a lost dispute ended" if told.collected else "")
            + " = recognised + deferred, less what is unbilled."
        )
        console.print(f"Figures in {os.path.relpath(path)}")
        console.print(
            f"Logins (password {PASSWORD}): demo; or by role sam.support, mia.maker, ann.approver,"
            " lea.legal, pat.product, eli.engineer, ada.auditor"
        )


def _replay() -> None:
    """Work everything out again from the raw events; what is stored has to be the same."""
    said = StringIO()
    try:
        call_command("replay", all=True, stdout=said)
    except SystemExit as stopped:
        raise DemoRefused(f"a replay differs:\n{said.getvalue()}") from stopped


def _embedded_server() -> EmbeddedServer | None:
    database = settings.DATABASES["default"]
    if database["ENGINE"] != settings.EMBEDDED_ENGINE:
        return None
    return EmbeddedServer(Path(str(database["HOST"])))


def _cast() -> Cast:
    people = User.objects.in_bulk(field_name="username")
    return Cast(
        product=people["pat.product"],
        engineer=people["eli.engineer"],
        maker=people["mia.maker"],
        approver=people["ann.approver"],
        support=people["sam.support"],
    )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
    )
