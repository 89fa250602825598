"""Compare the last days with Stripe, both ways, and print what differs with its owner."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel import clock
from billing_project.kernel.money import Money
from invoicing.stripe_sync import gateway
from invoicing.stripe_sync.reconciling import SETTLING, reconcile


class Command(BaseCommand):
    help = "Reconcile the last days with Stripe; exits with 1 where anything differs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=35)

    def handle(self, *args: Any, **options: Any) -> None:
        if not gateway.is_on():
            raise CommandError("STRIPE_API_KEY is not set")
        at = clock.now()
        try:
            done = reconcile(since=at - timedelta(days=options["days"]), until=at + SETTLING, at=at)
        except gateway.Unreachable as error:
            raise CommandError(f"Stripe does not answer: {error}") from error
        compared = ", ".join(f"{count} {name}s" for name, count in done.compared.items())
        self.stdout.write(f"compared {compared}")
        for currency, minor in sorted(done.paid_out.items()):
            self.stdout.write(f"paid out {Money(minor, currency)}")
        for one in done.found:
            self.stdout.write(
                f"{one.kind}: {one.subject}: here {one.here or 'nothing'},"
                f" there {one.there or 'nothing'} ({one.owner})"
            )
        if done.found:
            raise SystemExit(1)
        self.stdout.write("no differences")
