"""Prove that the journal is what was posted; exit 1 on any fault."""

import sys
import time
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand

from billing_project.kernel.sessions import one_state
from revrec.selectors.verifying import Walk, chain_faults

_SHOWN = 100


class Command(BaseCommand):
    help = "Recompute the journal's hash chain; names the first bad entry and exits 1 on any fault."

    def handle(self, *args: Any, **options: Any) -> None:
        walk, begin = Walk(), time.perf_counter()
        with one_state():
            faults = list(islice(chain_faults(walk), _SHOWN))
        seconds = time.perf_counter() - begin
        if faults:
            for fault in faults:
                self.stdout.write(f"FAIL  {fault.subject}: {fault.message}")
            self.stdout.write(f"The first bad entry is {faults[0].subject}.")
            sys.exit(1)
        self.stdout.write(
            f"ok    {walk.entry_count:,} entries, {walk.posting_count:,} postings, {seconds:.1f} s"
        )
        self.stdout.write(f"      head {walk.head.position} {walk.head.sha256}")
