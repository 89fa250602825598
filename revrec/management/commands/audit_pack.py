"""Make an audit pack now: everything behind a customer, a month or some invoices, in one file."""

import shutil
from argparse import ArgumentParser
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.management.reading import person
from billing_project.kernel.period import add_months
from metering.selectors.customers import customer_named
from revrec.models import AuditPack
from revrec.schedule import start_of
from revrec.selectors.zone import books_zone
from revrec.services.packs import Wish, ask_for_pack, make_pack, path_of


class Command(BaseCommand):
    help = "Make an audit pack: a ZIP with its own verifier; exits 1 where it cannot be made."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--month", metavar="YYYY-MM", help="a calendar month of the books")
        parser.add_argument("--customer", metavar="ID", help="of the month; default: all")
        parser.add_argument("--invoice", action="append", default=[], metavar="NUMBER")
        parser.add_argument("--output", metavar="FILE", help="copy the pack there")
        parser.add_argument("--reason", default="asked for in the shell")
        parser.add_argument("--by", metavar="USERNAME", help="who asks; default: the worker")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            pack = ask_for_pack(
                wish=_wish(options), reason=options["reason"], key=f"shell:{uuid4()}",
                by=person(options["by"]), at=now(),
            )  # fmt: skip
            make_pack(pack=pack, now=now)
        except BillingError as error:
            raise CommandError(error.message) from error
        self._report(AuditPack.objects.get(pk=pack.pk), options["output"])

    def _report(self, pack: AuditPack, output: str | None) -> None:
        if pack.fault:
            raise CommandError(pack.fault)
        path = path_of(pack)
        if output:
            path = Path(shutil.copyfile(path, output))
        self.stdout.write(f"{path}: {pack.row_count:,} rows, {pack.byte_count:,} bytes")
        self.stdout.write(f"sha256 {pack.content_sha256}")
        self.stdout.write(f"to verify it anywhere: python {path.name}")


def _wish(options: dict[str, Any]) -> Wish:
    if not options["month"]:
        return Wish(invoices=tuple(options["invoice"]))
    try:
        first = date.fromisoformat(f"{options['month']}-01")
    except ValueError as error:
        raise CommandError("--month is YYYY-MM") from error
    zone = books_zone()
    start, end = start_of(first, zone), start_of(add_months(first, 1, 1), zone)
    customer = customer_named(options["customer"]) if options["customer"] else None
    return Wish(start, end, customer, tuple(options["invoice"]))
