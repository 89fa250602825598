"""Move whole months of raw events to Parquet files, verified before anything leaves."""

import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from billing_project.kernel import clock
from billing_project.kernel.errors import BillingError
from billing_project.kernel.management.reading import person
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from billing_project.kernel.quantity import how_many
from metering.models import ArchivedMonth, MeterEvent
from metering.services.archiving import (
    archivable_months,
    archive_month,
    drop_detached,
    reasons_not_to_archive,
)


class Command(BaseCommand):
    help = "Archive raw events of whole months; exits 1 if a month had to stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--before", type=month_of, required=True, metavar="YYYY-MM", help="not included"
        )
        parser.add_argument(
            "--drop", action="store_true", help="also drop the tables of archived months"
        )
        parser.add_argument("--by", metavar="USERNAME", help="who archives; default: the worker")

    def handle(self, *args: Any, **options: Any) -> None:
        by = person(options["by"])
        stayed = 0
        for month in archivable_months(options["before"]):
            stayed += not self._archive(month, by)
        if options["drop"]:
            self._drop(options["before"], by)
        if stayed:
            sys.exit(1)

    def _archive(self, month: Period, by: User) -> bool:
        if reasons := reasons_not_to_archive(month, clock.now()):
            self.stdout.write(f"{month.start:%Y-%m} stays: {'; '.join(reasons)}")
            return False
        total = MeterEvent.objects.filter(
            timestamp__gte=month.start, timestamp__lt=month.end
        ).count()
        try:
            with progress() as bars:
                bar = bars.add_task(f"{month.start:%Y-%m}", total=2 * total, what="prove")
                archived = archive_month(
                    month=month,
                    by=by,
                    at=clock.now(),
                    on_rows=lambda what, rows: bars.update(bar, advance=rows, what=what),
                )
        except BillingError as error:
            self.stdout.write(error.message)
            return False
        self.stdout.write(
            f"{archived}: {how_many(archived.event_count, 'event')} in {archived.file_name},"
            f" {archived.file_bytes:,} bytes, sha256 {archived.file_sha256}"
        )
        return True

    def _drop(self, before: date, by: User) -> None:
        end = datetime(before.year, before.month, 1, tzinfo=UTC)
        months = ArchivedMonth.objects.filter(
            restored_at__isnull=True, dropped_at__isnull=True, end_at__lte=end
        )
        try:
            for month in months.order_by("start_at"):
                drop_detached(archived=month, by=by, at=clock.now())
                self.stdout.write(f"{month}: table dropped")
        except BillingError as error:
            raise CommandError(error.message) from error


def month_of(text: str) -> date:
    """Read a month (2026-01) as its first day."""
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no month: write 2026-01") from error


def progress() -> Progress:
    """Show rows on standard error; gone once done."""
    return Progress(
        TextColumn("{task.description} {task.fields[what]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
