"""Why rating still needs a month's raw events: a period that is not over may be rated again."""

from datetime import datetime, timedelta

from django.conf import settings

from billing_project.kernel.period import Period
from billing_project.kernel.quantity import how_many
from credits.models import BillingPeriod
from credits.selectors.usage import unrated_windows
from metering.models import Aggregation
from metering.selectors.archive import needs_events


@needs_events
def open_periods(month: Period, at: datetime) -> str:
    """Name billing periods over the month that events may still come for."""
    over = at - timedelta(days=settings.EVENT_DAYS_BACK)
    count = BillingPeriod.objects.filter(
        start_at__lt=month.end, end_at__gt=max(month.start, over)
    ).count()
    return f"{count} billing periods over it are not closed" if count else ""


@needs_events
def unrated_values(month: Period, at: datetime) -> str:
    """Say that unique values, which are counted from raw events, wait to be rated."""
    windows = unrated_windows().filter(  # type: ignore[misc]  # is_in_period is annotated.
        start_at__gte=month.start,
        start_at__lt=month.end,
        is_in_period=True,
        meter__aggregation=Aggregation.UNIQUE,
    )
    count = windows.count()
    return f"{how_many(count, 'window')} of unique values not rated yet" if count else ""
