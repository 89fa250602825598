"""Replay raw events into windows, usage into charges and the ledger; print what differs.

Everything is worked out on the side; nothing that is stored changes.
"""

import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from billing_project.console.portable.loading import load_pack
from billing_project.console.portable.progress import counting
from billing_project.console.portable.rebuilding import rebuild
from billing_project.console.portable.redrafting import Differing, redraft_all
from billing_project.kernel import clock
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import User
from billing_project.kernel.quantity import how_many, plain
from credits.services.replaying import Replayed, replay_credits
from metering.models import Customer, Meter, WindowRepair
from metering.selectors.customers import customer_named
from metering.services.repairing import MOST, apply_repair, propose_repair
from metering.services.replaying import Difference, chunks, replay_chunk, replay_span

_SHOWN = 1000
_HOUR = "%Y-%m-%dT%H:%MZ"


class Command(BaseCommand):
    help = (
        "Read usage windows anew from raw events, and rate and pay them anew from the first fact"
        " on; exits 1 where what is stored differs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--customer", help="external id or alias")
        parser.add_argument("--all", action="store_true", help="every customer")
        parser.add_argument("--start", type=_instant, help="a whole UTC hour: 2026-11-01T00:00Z")
        parser.add_argument("--end", type=_instant, help="not included")
        parser.add_argument(
            "--invoices", action="store_true",
            help="also draft every claim again and compare it with what was issued; while a"
            " customer is at work, nobody else writes invoices or rates usage",
        )  # fmt: skip
        parser.add_argument(
            "--repair", action="store_true", help="propose to set right what differs"
        )
        parser.add_argument(
            "--apply", type=int, metavar="ID", help="carry an approved repair out, and nothing else"
        )
        parser.add_argument(
            "--pack", metavar="FILE",
            help="import a migration pack into this empty database, make everything that follows"
            " from its events and decisions again, and compare the state hash",
        )  # fmt: skip
        parser.add_argument("--by", metavar="USERNAME", help="who proposes or applies")
        parser.add_argument("--reason", default="", help="why the windows are set right")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["pack"]:
                self._rebuild(Path(options["pack"]))
                return
            if options["apply"] is not None:
                self._apply(options)
                return
            customer = _customer(options)
            found = self._replay(customer, options)
            self._report(found)
            if found and options["repair"]:
                self._propose(found, options)
            differs = self._replay_credits(customer, options)
            if options["invoices"]:
                differs |= self._redraft(customer)
        except BillingError as error:
            raise CommandError(error.message) from error
        if found or differs:
            sys.exit(1)

    def _rebuild(self, pack: Path) -> None:
        """Bring a pack in, and make what follows again; exits 1 where it is not the same."""
        with counting("Importing") as on_rows:
            load_pack(pack, on_rows)
        with counting("Making again") as on_step:
            found = rebuild(on_step)
        for before, after in zip(found.recorded.parts, found.rebuilt.parts, strict=True):
            same = "same" if before == after else "DIFFERS"
            self.stdout.write(f"{before.name:<10} {before.lines:>12,}  {same:<8} {after.sha256}")
        self._report_drafts(found.redrafted, found.given)
        for fault in found.refused:
            self.stdout.write(f"cannot happen again: {fault}")
        for one in found.differences:
            self._report_line(one)
        self.stdout.write(f"state recorded   {found.recorded.sha256}")
        self.stdout.write(f"state made again {found.rebuilt.sha256}")
        if found.differences:
            self.stdout.write(f"The first that differs is of {found.differences[0].part}.")
        if found.refused or found.rebuilt != found.recorded:
            sys.exit(1)

    def _replay(self, customer: Customer | None, options: dict[str, Any]) -> list[Difference]:
        period = replay_span(customer, options["start"], options["end"])
        found: list[Difference] = []
        if period is None:
            return found
        spans = chunks(period, customer)
        with _progress() as progress:
            bar = progress.add_task("Replaying", total=len(spans), month="")
            for span in spans:
                progress.update(bar, month=f"{span.start:%Y-%m}")
                found += replay_chunk(span)
                progress.advance(bar)
        self.stdout.write(
            f"Replayed {period.start:%Y-%m-%dT%H:%MZ} to {period.end:%Y-%m-%dT%H:%MZ}"
        )
        return found

    def _report(self, found: list[Difference]) -> None:
        codes = dict(Meter.objects.values_list("pk", "code"))
        names = dict(
            Customer.objects.filter(pk__in={one.customer_id for one in found}).values_list(
                "pk", "external_id"
            )
        )
        for one in found[:_SHOWN]:
            self.stdout.write(
                f"{names[one.customer_id]}  {codes[one.meter_id]}  {one.start_at:{_HOUR}}"
                f"  workspace {one.workspace_id or '-'}  {one.dimensions}:"
                f" stored {_told(one.stored_quantity, one.stored_count)},"
                f" recomputed {_told(one.quantity, one.event_count)}"
            )
        if len(found) > _SHOWN:
            self.stdout.write(f"... and {len(found) - _SHOWN:,} more")
        self.stdout.write(how_many(len(found), "difference"))

    def _replay_credits(self, customer: Customer | None, options: dict[str, Any]) -> bool:
        """Replay each customer's ratings and ledger; tell whether anything differs."""
        customers = [customer] if customer else list(Customer.objects.order_by("pk"))
        facts = before = differences = 0
        with _progress() as progress:
            bar = progress.add_task("Rating and paying again", total=len(customers), month="")
            for one in customers:
                replayed = replay_credits(one.pk, options["start"], options["end"])
                self._report_credits(one, replayed, differences)
                facts, before = facts + replayed.facts, before + replayed.before
                differences += len(replayed.differences)
                progress.advance(bar)
        self.stdout.write(
            f"Replayed {how_many(facts, 'fact')} of ratings and ledger:"
            f" {how_many(differences, 'difference')}"
        )
        if before:
            self.stdout.write(
                f"{before:,} of them are from before facts kept their order: it was worked out"
                " later, and rules of then may be others than those of now"
            )
        return differences > 0

    def _report_credits(self, customer: Customer, replayed: Replayed, shown: int) -> None:
        for one in replayed.differences[: max(_SHOWN - shown, 0)]:
            self.stdout.write(
                f"{customer.external_id}  {one.fact}  {one.name}:"
                f" stored {one.stored}, recomputed {one.recomputed}"
            )

    def _redraft(self, customer: Customer | None) -> bool:
        """Draft claims again; tell whether any differs from what was issued."""
        with counting("Drafting again") as on_step:
            found = redraft_all(on_step, customer.pk if customer else None)
        self._report_drafts(found.again, found.given)
        for fault in found.refused:
            self.stdout.write(f"cannot be drafted again: {fault}")
        for one in found.differences[:_SHOWN]:
            self._report_line(one)
        return bool(found.differences or found.refused)

    def _report_drafts(self, again: int, given: int) -> None:
        self.stdout.write(
            f"Drafted {how_many(again, 'invoice')} again and compared each line;"
            f" {given:,} more are decisions, and given"
        )

    def _report_line(self, one: Differing) -> None:
        side = "recorded" if one.times > 0 else "made again"
        self.stdout.write(f"only {side}: {one.part} {one.line}")

    def _propose(self, found: list[Difference], options: dict[str, Any]) -> None:
        if len(found) > MOST:
            raise CommandError(f"a repair is of at most {MOST:,} windows: narrow the span")
        repair = propose_repair(
            differences=found, reason=options["reason"], by=_person(options), at=clock.now()
        )
        self.stdout.write(
            f"Proposed as repair {repair.pk}: once somebody else approved policy change"
            f" {repair.policy_change_id}, run: manage.py replay --apply {repair.pk} --by NAME"
        )

    def _apply(self, options: dict[str, Any]) -> None:
        repair = WindowRepair.objects.filter(pk=options["apply"]).first()
        if repair is None:
            raise CommandError(f"there is no repair {options['apply']}")
        applied = apply_repair(repair=repair, by=_person(options), at=clock.now())
        self.stdout.write(f"Repair {repair.pk} was applied at {applied.at:%Y-%m-%d %H:%M:%SZ}.")


def _customer(options: dict[str, Any]) -> Customer | None:
    if bool(options["customer"]) == options["all"]:
        raise CommandError("name a --customer, or say --all")
    return customer_named(options["customer"]) if options["customer"] else None


def _told(quantity: Any, count: int | None) -> str:
    return (
        "nothing" if quantity is None else f"{plain(quantity)} from {how_many(count or 0, 'event')}"
    )


def _person(options: dict[str, Any]) -> User:
    user = User.objects.filter(username=options["by"] or "", is_active=True).first()
    if user is None:
        raise CommandError("say with --by who proposes or applies a repair")
    return user


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description} {task.fields[month]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
