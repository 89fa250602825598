"""The calendar of the books: months that are open, and the day on which a fact is posted."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from django.db import connection

from billing_project.kernel.period import month_of
from revrec.models import AccountingPeriod


@dataclass(frozen=True)
class OpenBooks:
    """The books from their first open day on, held open until the transaction ends."""

    first_day: date | None  # None while nothing was ever closed.

    def effective_day(self, wanted_on: date) -> date:
        """Return the day itself if its month is open, else the first open day after it."""
        return wanted_on if self.first_day is None else max(wanted_on, self.first_day)


def ensure_period(day: date) -> AccountingPeriod:
    """Return the accounting period of a day; a missing month is opened."""
    start_on, end_on = month_of(day)
    period, _ = AccountingPeriod.objects.get_or_create(
        start_on=start_on, defaults={"end_on": end_on}
    )
    return period


def hold_open_books() -> OpenBooks:
    """Keep every open period from closing until the transaction ends; the first lock to take.

    A close that runs waits for this transaction, or this one waits for it and then sees the month
    closed.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM accounting_period WHERE status <> 'closed' ORDER BY start_on FOR SHARE"
        )
        cursor.execute("SELECT max(end_on) FROM accounting_period WHERE status = 'closed'")
        return OpenBooks(cursor.fetchone()[0])


def periods_of(days: Iterable[date]) -> dict[date, AccountingPeriod]:
    """Return the accounting period of each day."""
    months = {start: ensure_period(start) for start in sorted({month_of(day)[0] for day in days})}
    return {day: months[month_of(day)[0]] for day in days}
