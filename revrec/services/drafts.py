"""Drafts of entries, and the words and keys that they share."""

from dataclasses import dataclass, replace
from datetime import date, datetime

from billing_project.kernel.models import User
from billing_project.kernel.period import DAY
from invoicing.models import MAIN_ENTITY
from revrec.models import BooksMark, PerformanceObligation
from revrec.posting import About, EntryKind, Lines
from revrec.schedule import day_of, service_days
from revrec.sources import Source


@dataclass(frozen=True)
class Run:
    """Whose books are being written, by whom, when, in which zone; the customer is locked."""

    customer_id: int
    by: User
    at: datetime
    mark: BooksMark
    zone: str  # Of the books.

    def day_of(self, at: datetime) -> date:
        """Return the day of the books on which an instant falls."""
        return day_of(at, self.zone)

    def service_days(self, start_at: datetime, end_at: datetime) -> tuple[date, date]:
        """Return the service days of a period as [start_on, end_on)."""
        return service_days(start_at, end_at, self.zone)


@dataclass(frozen=True)
class EntryDraft:
    """An entry to be posted.

    `source_key` names the state that the entry brings about ("grant:7:used:tx:991"), so that the
    same step taken twice is one entry. `wanted_on` is the service day, or the day of the document.
    Its books are those of the entity that bills its customer; of nobody's, `entity_id` says whose.
    """

    wanted_on: date
    kind: EntryKind
    description: str
    customer_id: int | None
    lines: Lines
    source_key: str
    sources: tuple[Source, ...] = ()
    reverses_id: int | None = None
    entity_id: int = MAIN_ENTITY


def about(obligation: PerformanceObligation, service_on: date | None = None) -> About:
    """Return the dimensions of a posting on a promise, for one service day if named."""
    return About(
        currency=obligation.currency,
        obligation_id=obligation.pk,
        invoice_line_id=obligation.invoice_line_id,
        service_start_on=service_on,
        service_end_on=None if service_on is None else service_on + DAY,
    )


def over(dimensions: About, start_on: date, end_on: date) -> About:
    """Return the dimensions for a span of service days, [start_on, end_on)."""
    return replace(dimensions, service_start_on=start_on, service_end_on=end_on)
