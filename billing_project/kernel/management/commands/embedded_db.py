"""Start, stop or look at the embedded PostgreSQL."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel.embedded.server import EmbeddedServer


class Command(BaseCommand):
    help = "Start, stop or look at the embedded PostgreSQL (used where DATABASE_URL is not set)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["start", "stop", "status"])

    def handle(self, *args: Any, **options: Any) -> None:
        database = settings.DATABASES["default"]
        if database["ENGINE"] != settings.EMBEDDED_ENGINE:
            raise CommandError(
                "DATABASE_URL names a server of its own; this command has no part in it"
            )
        server = EmbeddedServer(Path(str(database["HOST"])))
        if options["action"] == "start":
            self.stdout.write(f"running, socket in {server.start()}")
        elif options["action"] == "stop":
            self.stdout.write("stopped" if server.stop() else "was not running")
        else:
            self.stdout.write("running" if server.is_running() else "not running")
