"""Read a supplier price list into the table that the burn table compares rates with."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel import clock
from billing_project.kernel.approvals import Proposal
from billing_project.kernel.errors import BillingError
from billing_project.kernel.management.reading import day, person
from credits.services.supplier_rates import differing, propose_supplier_rates
from credits.supplier_prices import PriceList, UnreadablePrices, read_price_list


class Command(BaseCommand):
    help = "Propose the prices per token of a JSON file that differ from those in force."

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
            effective_at = options["effective"] or today
            source = options["source"] or path.name
            new = differing(found.prices, options["currency"], effective_at)
            if new:
                sheet = propose_supplier_rates(
                    prices=new,
                    currency=options["currency"],
                    source=source,
                    proposal=_words(source, effective_at),
                    by=person(options["by"]),
                    at=at,
                )
                self.stdout.write(f"Proposed as {sheet}: finance approves it, then it counts")
        except BillingError as error:
            raise CommandError(error.message) from error
        same = len(found.prices) - len(new)
        self.stdout.write(f"{len(new):,} new prices, {same:,} in force already")
        if found.left_out:
            self.stdout.write(f"Not priced by the token, left out: {', '.join(found.left_out)}")


def _words(source: str, effective_at: datetime) -> Proposal:
    return Proposal(
        title=f"Suppliers' prices: {source}"[:200],
        product_requirement="Margins follow what suppliers charge",
        engineering_note="Read from a price list; no code change",
        reason_code="supplier_price",
        effective_at=effective_at,
    )


def _read(path: Path) -> PriceList:
    try:
        return read_price_list(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CommandError(f"{path} is no file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read as text: {error}") from error
    except UnreadablePrices as error:
        raise CommandError(f"{path}: {error}") from error
