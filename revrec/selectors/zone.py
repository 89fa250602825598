"""The zone in which the days of the books begin: the approved one, or UTC."""

from datetime import datetime

from django.db import connection

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, PolicyStatus
from billing_project.kernel.period import Period
from revrec.models import AccountingPeriod, BooksZone, JournalEntry
from revrec.schedule import start_of

BOOKS_ZONE = "books_zone"


def kept_by_entries() -> str:
    """Say why no zone can be chosen any more; "" while nothing is posted."""
    if JournalEntry.objects.exists():
        return "the books have entries: their days stay where they began"
    return ""


register_kind(
    Kind(
        BOOKS_ZONE, "Time zone of the books",
        consequence="Every day and month of the books begins at midnight of this zone, for all"
        " legal entities. It can be approved only before anything is posted, and then stays.",
        obstacle=kept_by_entries,
    )
)  # fmt: skip


def books_zone() -> str:
    """Return the zone of the books."""
    approved = BooksZone.objects.filter(policy_change__status=PolicyStatus.APPROVED)
    return approved.values_list("zone", flat=True).order_by("-number").first() or "UTC"


def held_zone() -> str:
    """Return the zone, and keep it from being chosen anew until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended('books_zone', 0))")
    return books_zone()


def span_of(period: AccountingPeriod) -> Period:
    """Return the instants of a month of the books."""
    zone = books_zone()
    return Period(start_of(period.start_on, zone), start_of(period.end_on, zone))


def end_of(period: AccountingPeriod) -> datetime:
    """Return the first instant after a month of the books."""
    return start_of(period.end_on, books_zone())


def content_of_zone(chosen: BooksZone) -> dict[str, object]:
    """Return a choice as plain values."""
    return {"number": chosen.number, "zone": chosen.zone}


@content_of(BOOKS_ZONE)
def _content(change: PolicyChange) -> dict[str, object]:
    return content_of_zone(BooksZone.objects.get(policy_change=change))
