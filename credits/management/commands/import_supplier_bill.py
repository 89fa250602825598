"""Lay a supplier's bill beside what the month's usage costs by the supplier's prices."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel import clock
from billing_project.kernel.errors import BillingError
from billing_project.kernel.management.reading import day, person
from billing_project.kernel.quantity import plain
from credits.selectors.supplier_bills import newest_lines
from credits.services.supplier_bills import import_supplier_bill


class Command(BaseCommand):
    help = "Import a supplier's bill from a CSV file; the same file again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="CSV with the columns model and amount")
        parser.add_argument("--supplier", required=True)
        parser.add_argument("--month", metavar="YYYY-MM-DD", type=day, required=True)
        parser.add_argument("--currency", default="USD")
        parser.add_argument("--owner", metavar="USERNAME", required=True, help="who explains")
        parser.add_argument("--by", metavar="USERNAME", help="who imports; default: the worker")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            text = path.read_text(encoding="utf-8")
            bill = import_supplier_bill(
                text=text, supplier=options["supplier"], month_on=options["month"].date(),
                currency=options["currency"], source=path.name, owner=person(options["owner"]),
                by=person(options["by"]), at=clock.now(),
            )  # fmt: skip
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} cannot be read as text: {error}") from error
        except BillingError as error:
            raise CommandError(error.message) from error
        for line in newest_lines(bill).order_by("pk"):
            mark = "  to explain" if line.is_open else ""
            said = f"{plain(line.billed)} billed, {plain(line.expected)} by usage{mark}"
            self.stdout.write(f"{line.model}: {said}")
