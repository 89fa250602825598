"""The home page: totals of each unit, the state of the chain and of the books, what waits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from billing_project.console import figures
from billing_project.console.charts import UnitRow, by_unit, chart_data, chart_options, days_until
from billing_project.console.freshness import freshness_of
from billing_project.console.navigation import may_read
from billing_project.console.unrated_page import banner
from billing_project.console.waiting import age_text, queue_of
from billing_project.kernel.backoffice.display import number_text
from billing_project.kernel.backoffice.related import list_url
from billing_project.kernel.clock import now
from billing_project.kernel.models import OutboxMessage
from billing_project.kernel.money import Money
from billing_project.kernel.period import midnight
from invoicing.models import Invoice
from metering.models import EventBatch, MeterEvent, QuarantineGroup, UsageWindow
from revrec.models import JournalEntry
from revrec.selectors.reports import account_totals
from revrec.services.anchoring import older_state

DAYS = 31


@dataclass(frozen=True)
class Tile:
    """One total: what it counts, how much, and where to read on."""

    title: str
    lines: tuple[tuple[str, str], ...]  # Amounts with their units.
    note: str
    url: str


@dataclass(frozen=True)
class Step:
    """One step of the chain: whether it is done, and since when it is not."""

    title: str
    state: str
    is_done: bool
    url: str
    is_stuck: bool = False


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the home page's figures to its context; some dozen aggregate queries.

    Somebody without a role sees none of them.
    """
    if not may_read(request):
        return {**context, "title": "Home", "has_no_role": True}
    at = now()
    days = days_until(at.date(), DAYS)
    start_at = midnight(days[0])
    end_at = midnight(days[-1] + timedelta(days=1))
    usage = figures.usage_by_day(start_at, end_at)
    return {
        **context,
        "title": "Home",
        "at": at,
        "days": DAYS,
        "freshness": freshness_of(at),
        "tiles": _tiles(at, usage),
        "steps": _steps(at),
        "charts": [
            *_charts("Usage by model and UTC day", usage, days),
            *_charts("Drawn and overage by UTC day", figures.charge_by_day(start_at, end_at), days),
            *_charts(
                "Revenue recognised by accounting day",
                figures.revenue_by_day(days[0], days[-1] + timedelta(days=1)),
                days,
            ),
        ],
        "chart_options": chart_options(),
        **banner(),
        "queue": queue_of(request.user, at),
        "last_check": figures.last_check(),
        "older_state": older_state(),
        "books_url": reverse("console:books"),
        "lineage_url": reverse("console:lineage"),
    }


def _charts(title: str, rows: Iterable[UnitRow], days: Sequence[date]) -> list[tuple[str, str]]:
    """Draw a picture for each unit; an empty one where nothing happened."""
    parts = by_unit(rows)
    if not parts:
        return [(title, chart_data((), days))]
    return [(f"{title}, {unit}", chart_data(part, days)) for unit, part in parts.items()]


def _tiles(at: datetime, usage: Sequence[UnitRow]) -> list[Tile]:
    totals = account_totals()
    entries = list_url(JournalEntry, {})
    return [
        _usage_tile(usage),
        Tile(
            "Credits outstanding",
            tuple((_whole(left), unit) for unit, left in figures.credits_outstanding(at)),
            "left of the grants in force",
            reverse("admin:credits_creditgrant_changelist"),
        ),
        Tile("Overage unbilled", _sums(totals, figures.UNBILLED, 1), "account 1200", entries),
        Tile(
            "Receivable",
            _sums(totals, figures.RECEIVABLE, 1),
            "account 1100",
            list_url(Invoice, {"status__exact": "finalized"}),
        ),
        Tile("Deferred revenue", _sums(totals, figures.DEFERRED, -1), "2100 and 2120", entries),
        Tile("Revenue recognised", _sums(totals, figures.REVENUE, -1), "accounts 4xxx", entries),
    ]


def _usage_tile(usage: Sequence[UnitRow]) -> Tile:
    units: dict[str, Decimal] = {}
    for _, _, unit, quantity in usage:
        units[unit] = units.get(unit, Decimal(0)) + quantity
    lines = tuple((number_text(total), f"{unit}s") for unit, total in sorted(units.items()))
    return Tile("Usage", lines, f"metered in the last {DAYS} days", list_url(UsageWindow, {}))


def _sums(
    totals: dict[tuple[str, str], int], accounts: tuple[str, ...], sign: int
) -> tuple[tuple[str, str], ...]:
    sums = figures.total_of(totals, accounts, sign)
    return tuple((f"{Money(amount, code).decimal:,f}", code) for amount, code in sums)


def _whole(value: Decimal) -> str:
    return f"{value.quantize(Decimal(1), ROUND_HALF_UP):,}"


def _steps(at: datetime) -> list[Step]:
    capture = figures.capture()
    notes = {note.topic: note for note in figures.waiting_notes()}
    quarantined = figures.open_quarantine()
    all_drafts, ready_drafts = figures.draft_counts(at)
    return [
        Step("Events stored", f"{capture.event_count:,}", True, list_url(MeterEvent, {})),
        _waiting_step(
            "Aggregate", capture.waiting_count, capture.waiting_since, at, list_url(EventBatch, {})
        ),
        *(
            _waiting_step(
                title,
                notes[topic].count if topic in notes else 0,
                notes[topic].since if topic in notes else None,
                at,
                list_url(OutboxMessage, {"topic__exact": topic}),
            )
            for title, topic in (
                ("Rate and draw down", "usage_changed"),
                ("Recognise drawdowns", "credits_changed"),
                ("Recognise invoices", "money_changed"),
            )
        ),
        _unrated_step(),
        Step(
            "Quarantine",
            f"{quarantined:,} open" if quarantined else "empty",
            not quarantined,
            list_url(QuarantineGroup, {}),
        ),
        Step(
            "Draft invoices",
            f"{all_drafts:,}, {ready_drafts:,} past their grace" if all_drafts else "none",
            not ready_drafts,
            list_url(Invoice, {"status__exact": "draft"}),
        ),
    ]


def _unrated_step() -> Step:
    """Usage that waits for a billing period or for an approved rate."""
    count, most = figures.unrated_count(), figures.MOST_UNRATED
    number = f"more than {most:,}" if count > most else f"{count:,}"
    state = f"{number} window{'s' * (count != 1)}" if count else "none"
    return Step("Usage without a rate", state, not count, reverse("console:unrated"))


def _waiting_step(title: str, count: int, since: datetime | None, at: datetime, url: str) -> Step:
    if not count or since is None:
        return Step(title, "up to date", True, url)
    state = f"{count:,} waiting, oldest {age_text(since, at)}"
    is_stuck = at - since >= figures.STUCK_AFTER
    return Step(title, f"{state}: stuck" if is_stuck else state, False, url, is_stuck)
