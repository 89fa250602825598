"""Prove the books; exit 1 on any finding."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from billing_project.kernel.books import run_checks


class Command(BaseCommand):
    help = "Check that every step of the chain agrees with the next; exits 1 on any finding."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quiet", action="store_true", help="print findings only")

    def handle(self, *args: Any, **options: Any) -> None:
        checks = findings = 0
        for result in run_checks():
            checks += 1
            findings += len(result.findings)
            if result.findings or not options["quiet"]:
                self.stdout.write(f"{'ok  ' if not result.findings else 'FAIL'}  {result.title}")
            for finding in result.findings:
                self.stdout.write(f"        {finding.subject}: {finding.message}")
        self.stdout.write(f"{checks} checks, {findings} findings")
        if findings:
            sys.exit(1)
