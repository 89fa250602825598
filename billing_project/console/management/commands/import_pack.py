"""Bring a migration pack into this empty installation; all of it, or nothing."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.console.portable.loading import load_pack
from billing_project.console.portable.progress import counting
from billing_project.kernel.errors import BillingError


class Command(BaseCommand):
    help = (
        "Fill an empty, migrated installation from a migration pack; refuses one that is cut,"
        " changed or of another release, and whatever does not come to the same state hash."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("pack", metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with counting("Importing") as on_rows:
                manifest = load_pack(Path(options["pack"]), on_rows)
        except BillingError as error:
            raise CommandError(error.message) from error
        rows = sum(one.get("rows", 0) for one in manifest["files"].values())
        self.stdout.write(f"{rows:,} rows; the journal's chain holds")
        self.stdout.write(f"state  {manifest['state']['sha256']}")
        self.stdout.write("To be set again:")
        for one in manifest["to_set_again"]:
            self.stdout.write(f"- {one}")
