"""Words and keys that the drafts of entries share."""

from dataclasses import dataclass, replace
from datetime import date, datetime

from billing_project.kernel.models import User
from billing_project.kernel.period import DAY
from revrec.models import BooksMark, PerformanceObligation
from revrec.posting import About


@dataclass(frozen=True)
class Run:
    """Whose books are being written, by whom, when; the customer is locked."""

    customer_id: int
    by: User
    at: datetime
    mark: BooksMark


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
