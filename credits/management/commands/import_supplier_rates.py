"""Read a supplier price list into the table that the burn table compares rates with."""

from argparse import ArgumentParser
from datetime import UTC
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel import clock
from billing_project.kernel.errors import BillingError
from billing_project.kernel.management.reading import day, person
from credits.services.supplier_rates import record_supplier_rates
from credits.supplier_prices import PriceList, UnreadablePrices, read_price_list


class Command(BaseCommand):
    help = "Import prices per token by model from a JSON file; the same file again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="LiteLLM's model price map, or a part of it")
        parser.add_argument(
            "--effective",
            metavar="YYYY-MM-DD",
            type=day,
            help="from which day (UTC) the prices hold; default: today",
        )
        parser.add_argument("--currency", default="USD")
        parser.add_argument("--source", default="", help="where they come from; default: the name")
        parser.add_argument("--by", metavar="USERNAME", help="who imports; default: the worker")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        found = _read(path)
        at = clock.now()
        today = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        try:
            imported = record_supplier_rates(
                prices=found.prices,
                currency=options["currency"],
                effective_at=options["effective"] or today,
                source=options["source"] or path.name,
                by=person(options["by"]),
                at=at,
            )
        except BillingError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{imported.new:,} new prices, {imported.same:,} in force already")
        if found.left_out:
            self.stdout.write(f"Not priced by the token, left out: {', '.join(found.left_out)}")


def _read(path: Path) -> PriceList:
    try:
        return read_price_list(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CommandError(f"{path} is no file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read as text: {error}") from error
    except UnreadablePrices as error:
        raise CommandError(f"{path}: {error}") from error
