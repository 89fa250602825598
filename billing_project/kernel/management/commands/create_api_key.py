"""Make an API key and print it once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel import clock
from billing_project.kernel.errors import BillingError
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import SCOPES


class Command(BaseCommand):
    help = "Make an API key and print it; it is shown once and stored as a hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "--scope", action="extend", nargs="+", required=True, metavar="SCOPE", dest="scopes",
            help=", ".join(SCOPES),
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            _, token = create_api_key(
                name=options["name"], scopes=options["scopes"], at=clock.now()
            )
        except BillingError as error:
            raise CommandError(error.message) from error
        self.stdout.write(token)
