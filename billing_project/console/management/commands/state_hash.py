"""Print what the derived facts come to: a hash of each part, and one of all."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.console.portable.state import (
    VERSION,
    StateHash,
    as_content,
    lines_of,
    state_hash,
)
from billing_project.console.portable.state_sql import PARTS
from billing_project.kernel.sessions import one_state


class Command(BaseCommand):
    help = (
        "Hash the derived facts (windows, ratings, grants, ledger, invoices, schedules, journal)"
        " by their content; with --expect, exits 1 unless it is that hash."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="for machines")
        parser.add_argument("--expect", metavar="SHA256", help="what the hash of all has to be")
        parser.add_argument(
            "--lines", metavar="FOLDER", help="write each part's lines there, to be compared"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with one_state():
            found = state_hash()
            if options["lines"]:
                _write_lines(Path(options["lines"]))
        if options["json"]:
            self.stdout.write(json.dumps(as_content(found), indent=1))
        else:
            self._print(found)
        if options["expect"] and options["expect"] != found.sha256:
            self.stderr.write(f"expected {options['expect']}")
            sys.exit(1)

    def _print(self, found: StateHash) -> None:
        about = {part.name: part.about for part in PARTS}
        for one in found.parts:
            self.stdout.write(f"{one.name:<10} {one.lines:>12,}  {one.sha256}  {about[one.name]}")
        self.stdout.write(f"{'state':<10} {'':>12}  {found.sha256}  {VERSION}")


def _write_lines(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            with (folder / f"{part.name}.jsonl").open("w") as stream:
                stream.writelines(f"{line}\n" for line in lines_of(part))
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be written: {error.strerror}") from error
