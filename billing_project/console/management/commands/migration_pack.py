"""Write a migration pack: the whole installation in one file, to be carried elsewhere."""

import hashlib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.console.portable.packing import FORMATS, write_migration_pack
from billing_project.console.portable.progress import counting
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError


class Command(BaseCommand):
    help = (
        "Write every row of this installation to one file, with the state hash; `import_pack`"
        " brings it into an empty one. Who has the file can read everything and enter nowhere."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("output", metavar="FILE", help="such as installation.zip")
        parser.add_argument("--format", choices=FORMATS, default="jsonl")

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(options["output"])
        try:
            with counting("Packing") as on_rows:
                manifest = write_migration_pack(path, options["format"], now(), on_rows)
        except BillingError as error:
            raise CommandError(error.message) from error
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error
        rows = sum(one.get("rows", 0) for one in manifest["files"].values())
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        self.stdout.write(f"{path}: {rows:,} rows, {path.stat().st_size:,} bytes")
        self.stdout.write(f"sha256 {sha256}")
        self.stdout.write(f"state  {manifest['state']['sha256']}")
        self.stdout.write("To be set again where it is imported:")
        for one in manifest["to_set_again"]:
            self.stdout.write(f"- {one}")
