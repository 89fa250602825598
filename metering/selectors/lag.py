"""How far behind the usage windows are."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection

from metering.models import LagEpisode

_OLDEST = "SELECT min(received_at) FROM event_batch WHERE aggregated_at IS NULL"
_MICROSECOND = Decimal(1).scaleb(-6)


class AggregationState(NamedTuple):
    """Everything stored before `as_of` is in the usage windows."""

    as_of: datetime
    lag_seconds: Decimal  # >= 0, to the microsecond.


def aggregation_state(at: datetime) -> AggregationState:
    """Return since when events wait; nothing waits: as of now, no lag."""
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST)
        oldest: datetime | None = cursor.fetchone()[0]
    as_of = at if oldest is None else min(oldest, at)
    lag = at - as_of
    seconds = lag.days * 86_400 + lag.seconds + lag.microseconds * _MICROSECOND
    return AggregationState(as_of, Decimal(seconds))


def open_episode() -> LagEpisode | None:
    """Return the stretch of lag that has not ended, or None."""
    return LagEpisode.objects.filter(closed_at=None).select_related("acknowledged_by").first()
