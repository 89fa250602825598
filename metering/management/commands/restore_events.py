"""Bring an archived month of raw events back into the database."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel import clock
from billing_project.kernel.errors import BillingError
from billing_project.kernel.management.reading import person
from billing_project.kernel.quantity import how_many
from metering.management.commands.archive_events import month_of, progress
from metering.services.archiving import restore_month


class Command(BaseCommand):
    help = "Restore an archived month, from its detached table or its verified file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("month", type=month_of, metavar="YYYY-MM")
        parser.add_argument("--by", metavar="USERNAME", help="who restores; default: the worker")

    def handle(self, *args: Any, **options: Any) -> None:
        by = person(options["by"])
        try:
            with progress() as bars:
                bar = bars.add_task(f"{options['month']:%Y-%m}", total=None, what="restore")
                restored = restore_month(
                    first=options["month"],
                    by=by,
                    at=clock.now(),
                    on_rows=lambda what, rows: bars.update(bar, advance=rows, what=what),
                )
        except BillingError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{restored}: {how_many(restored.event_count, 'event')} back")
