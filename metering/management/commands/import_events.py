"""Import a file of events: streamed, resumable, with what was refused in a file of its own."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from billing_project.kernel import clock
from billing_project.kernel.errors import BillingError
from billing_project.kernel.management.reading import day, person
from billing_project.kernel.quantity import how_many
from metering.imports import FileFormat, format_named
from metering.models import ImportRun, ImportState
from metering.selectors.imports import has_lines, lines_file
from metering.services.imports import ImportFile, import_stream, start_import
from metering.services.uploads import hash_file

_COUNTS = ("accepted", "duplicate", "conflict", "quarantined", "rejected")


class Command(BaseCommand):
    help = "Import events from a CSV or JSONL file; resumable; exits 1 if any line was refused."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="a .csv or .jsonl file, also .gz; - for standard input")
        parser.add_argument("--format", choices=[*FileFormat], help="where the name does not say")
        parser.add_argument(
            "--history",
            metavar="YYYY-MM-DD",
            type=day,
            help="accept timestamps back to this day (UTC); needs --reason",
        )
        parser.add_argument("--reason", default="", help="kept in the audit trail")
        parser.add_argument("--by", metavar="USERNAME", help="who imports; default: the worker")
        parser.add_argument(
            "--errors",
            type=Path,
            help="where lines that were not accepted go (.jsonl or .csv);"
            " default: FILE.errors.jsonl",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run = self._run(options)
        except BillingError as error:
            raise CommandError(error.message) from error
        errors = _errors_path(options)
        if has_lines(run):
            _write(run, errors)
            self.stdout.write(f"What was not accepted: {errors}")
        counts = ", ".join(f"{getattr(run, f'{name}_count'):,} {name}" for name in _COUNTS)
        self.stdout.write(f"{how_many(run.record_count, 'line')}: {counts}")
        if run.state == ImportState.FAILED:
            raise CommandError(f"line {run.line_count + 1}: {run.fault}")
        if run.refused_count:
            sys.exit(1)

    def _run(self, options: dict[str, Any]) -> ImportRun:
        if options["file"] == "-":
            return self._import(sys.stdin.buffer, _file("-", options), options)
        path = Path(options["file"])
        if not path.is_file():
            raise CommandError(f"{path} is no file")
        with path.open("rb") as stream:
            sha256 = _with_bar("Reading", path.stat().st_size, lambda b: hash_file(stream, b))
            stream.seek(0)
            file = _file(path.name, options, sha256, path.stat().st_size)
            return self._import(stream, file, options)

    def _import(self, stream: BinaryIO, file: ImportFile, options: dict[str, Any]) -> ImportRun:
        run = start_import(
            file=file,
            history_since=options["history"],
            reason=options["reason"],
            by=person(options["by"]),
            at=clock.now(),
        )
        if run.record_count:
            self.stdout.write(f"Going on behind line {run.line_count:,}.")
        with _progress() as progress:
            bar = progress.add_task("Importing", total=file.size_bytes or None, rate="")
            began, before = clock.now(), run.record_count

            def show(now: ImportRun) -> bool:
                _show(progress, bar, now, now.record_count - before, began)
                return True

            return import_stream(run=run, stream=stream, now=clock.now, on_batch=show)


def _show(progress: Progress, bar: TaskID, run: ImportRun, done: int, began: datetime) -> None:
    seconds = max(1, (clock.now() - began).seconds)
    rate = f"{how_many(run.record_count, 'line')}, {done // seconds:,}/s"
    progress.update(bar, completed=run.read_bytes, rate=rate)


def _with_bar(title: str, total: int, work: Callable[[Callable[[int], None]], str]) -> str:
    with _progress() as progress:
        bar = progress.add_task(title, total=total, rate="")
        return work(lambda count: progress.advance(bar, count))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _file(name: str, options: dict[str, Any], sha256: str = "", size: int = 0) -> ImportFile:
    kind = options["format"] or format_named(name)
    if kind is None:
        raise CommandError("say --format csv or --format jsonl: the name does not tell")
    return ImportFile(name, FileFormat(kind), sha256, size)


def _errors_path(options: dict[str, Any]) -> Path:
    if options["errors"]:
        return Path(options["errors"])
    name = "import" if options["file"] == "-" else options["file"]
    return Path(f"{name}.errors.jsonl")


def _write(run: ImportRun, path: Path) -> None:
    with path.open("wb") as out:
        out.writelines(lines_file(run, format_named(path.name) or FileFormat.JSONL))
