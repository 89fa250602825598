"""Take over customers, credits and subscriptions from another system: dry run first."""

import hashlib
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel import clock
from billing_project.kernel.errors import BillingError, Invalid
from billing_project.kernel.management.reading import person
from billing_project.kernel.quantity import how_many, plain
from invoicing.models import OpeningImport, OpeningState
from invoicing.opening import Fault
from invoicing.opening_files import read_file
from invoicing.selectors.opening import parity_of
from invoicing.services.opening import (
    BadItems,
    OpeningFile,
    apply_openings,
    check_openings,
    propose_openings,
)
from invoicing.services.opening_ends import retry_openings

_SHOWN = 200
_MOST_BYTES = 256 * 1024 * 1024


class Command(BaseCommand):
    help = (
        "Read a CSV or a Stripe export of opening balances. Without --propose nothing is written:"
        " every fault is printed with its line and column; exits 1 where there is one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path)
        parser.add_argument("--source", default="csv", help="which system it is of; stripe: JSON")
        parser.add_argument(
            "--plan", action="append", default=[], metavar="PRICE=CODE",
            help="which plan a price of Stripe's is here; PRICE=- leaves it behind",
        )  # fmt: skip
        parser.add_argument(
            "--propose", action="store_true", help="keep it, for somebody else to approve"
        )
        parser.add_argument("--reason", default="", help="why it is taken over")
        parser.add_argument("--by", metavar="USERNAME", help="who proposes, a person; who applies")
        parser.add_argument(
            "--apply", action="store_true", help="let what was approved take effect now"
        )
        parser.add_argument(
            "--retry", type=int, metavar="ID",
            help="try what failed of an import again, with --reason and --by",
        )  # fmt: skip
        parser.add_argument("--parity", type=int, metavar="ID", help="print an import's parity")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["apply"]:
            done = apply_openings(by=person(options["by"]), at=clock.now())
            self.stdout.write(f"{how_many(done, 'item')} took effect")
        elif options["retry"] is not None:
            self._retry(options)
        elif options["parity"] is not None:
            self._parity(options["parity"])
        elif options["file"] is None:
            raise CommandError("name a file, or say --apply, --retry ID or --parity ID")
        else:
            self._read(options["file"], options)

    def _read(self, path: Path, options: dict[str, Any]) -> None:
        content = _content(path)
        source = options["source"]
        try:
            reading = read_file(content, source, options["plan"])
        except Invalid as error:
            raise CommandError(error.message) from error
        file = OpeningFile(source, path.name, hashlib.sha256(content).hexdigest())
        by, at = person(options["by"]), clock.now()
        faults = reading.faults
        if not faults:
            faults = check_openings(file=file, items=reading.items, by=by, at=at)
        self._refuse(faults, len(reading.items))
        if not options["propose"]:
            self.stdout.write(
                f"{how_many(len(reading.items), 'item')}, no fault; nothing was written."
                " To keep it for approval: --propose --reason"
            )
            return
        try:
            made = propose_openings(
                file=file, items=reading.items, reason=options["reason"], by=by, at=at
            )
        except BadItems as error:
            self._refuse(error.faults, len(reading.items))
            return
        except BillingError as error:
            raise CommandError(error.message) from error
        if made.state != OpeningState.OPEN:
            self.stdout.write(f"This file was taken before: import {made.pk} is {made.state}")
            return
        self.stdout.write(
            f"Import {made.pk} waits: once somebody else approved policy change"
            f" {made.policy_change_id}, the worker lets it take effect"
        )

    def _retry(self, options: dict[str, Any]) -> None:
        row = _import(options["retry"])
        try:
            done = retry_openings(
                row=row, reason=options["reason"], by=person(options["by"]), at=clock.now()
            )
        except BillingError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{how_many(done, 'item')} took effect")

    def _refuse(self, faults: list[Fault], count: int) -> None:
        if not faults:
            return
        for fault in faults[:_SHOWN]:
            self.stdout.write(str(fault))
        if len(faults) > _SHOWN:
            self.stdout.write(f"... and {len(faults) - _SHOWN:,} more")
        self.stdout.write(f"{how_many(len(faults), 'fault')}; nothing was written")
        sys.exit(1)

    def _parity(self, pk: int) -> None:
        row = _import(pk)
        unnamed = 0
        for one in parity_of(row):
            unnamed += not one.is_named
            self.stdout.write(
                f"{one.customer}  {one.what} {one.unit}: source {plain(one.source)},"
                f" here {plain(one.here)}, difference {plain(one.difference)}  {one.why}"
            )
        if unnamed:
            self.stdout.write(f"{how_many(unnamed, 'difference')} that nothing explains")
            sys.exit(1)


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CommandError(f"{path} is larger than 256 MiB: cut it by customer")
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error


def _import(pk: int) -> OpeningImport:
    row = OpeningImport.objects.filter(pk=pk).first()
    if row is None:
        raise CommandError(f"there is no import {pk}")
    return row
