"""Prove that the journal is what was posted and sealed; exit 1 on any fault."""

import sys
import time
from argparse import ArgumentParser
from itertools import chain, islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel.sessions import one_state
from invoicing.models import MAIN_CODE
from revrec.sealing import BadSeal, chains_of, head_of, opened, public_key_of
from revrec.selectors.seals import seal_faults, stored_seal_faults
from revrec.selectors.verifying import Walk, chain_faults

_SHOWN = 100


class Command(BaseCommand):
    help = (
        "Recompute the journal's hash chains and hold them against the seals; names the first bad"
        " entry and exits 1 on any fault."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--anchor", action="append", default=[], metavar="FILE",
            help="a seal's file, or a folder of them, kept outside the database; may be given"
            " more than once",
        )  # fmt: skip
        parser.add_argument(
            "--public-key", action="append", default=[], metavar="FILE",
            help="PEM of a key that you trust; the default is the one of SEALING_KEY_FILE",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        anchors = _anchors(options["anchor"], options["public_key"])
        walk, begin = Walk(), time.perf_counter()
        with one_state():
            bad = list(islice(chain_faults(walk), _SHOWN))
            parts = [stored_seal_faults(), *(seal_faults(name, of) for name, of in anchors)]
            unsealed = list(islice(chain.from_iterable(parts), _SHOWN))
        for fault in [*bad, *unsealed]:
            self.stdout.write(f"FAIL  {fault.subject}: {fault.message}")
        if bad:
            self.stdout.write(f"The first bad entry is {bad[0].subject}.")
        if bad or unsealed:
            sys.exit(1)
        seconds = time.perf_counter() - begin
        self.stdout.write(
            f"ok    {walk.entry_count:,} entries, {walk.posting_count:,} postings, {seconds:.1f} s"
        )
        for name, manifest in anchors:
            for code, said in chains_of(manifest, MAIN_CODE).items():
                head = head_of(said).position
                self.stdout.write(f"ok    {name}: head {head} stands{_of(code)}")
        for code, last in walk.heads.items():
            self.stdout.write(f"      head {last.position} {last.sha256}{_of(code)}")


def _of(code: str) -> str:
    return "" if code == MAIN_CODE else f" in the chain of {code}"


def _anchors(files: list[str], keys: list[str]) -> list[tuple[str, Any]]:
    """Open the seals; the trusted keys are the caller's, or else the house's own."""
    if not files:
        return []
    try:
        paths = [*map(Path, keys)] or [Path(settings.SEALING_KEY_FILE)]
        trusted = {public_key_of(path.read_bytes()) for path in paths}
        texts = [(path.name, path.read_text()) for path in _seals_at(files)]
        return [(f"seal {name}", opened(text, trusted)) for name, text in texts]
    except (OSError, UnicodeDecodeError, BadSeal) as error:
        raise CommandError(f"no anchor to hold the journal against: {error}") from error


def _seals_at(names: list[str]) -> list[Path]:
    """Return the files named, and those in the folders named; a folder holds one at least."""
    found: list[Path] = []
    for path in map(Path, names):
        inside = sorted(path.glob("*.seal.json")) if path.is_dir() else [path]
        if not inside:
            raise BadSeal(f"{path.name} holds no seal")
        found += inside
    return found
