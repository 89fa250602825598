"""How far behind the usage windows are."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection

from metering.models import LagEpisode

_OLDEST = "SELECT min(received_at) FROM event_batch WHERE aggregated_at IS NULL"
# One index range for each batch, as the aggregator reads it.
_BY_CUSTOMER = """
SELECT e.customer_id, min(b.received_at) FROM event_batch b CROSS JOIN LATERAL (
    SELECT DISTINCT customer_id FROM (
        SELECT e.customer_id FROM meter_event e
        WHERE e.batch_id = b.id
          AND e.id BETWEEN b.first_event_id AND b.last_event_id
          AND e."timestamp" BETWEEN b.first_timestamp AND b.last_timestamp
          AND (%(customer)s::bigint IS NULL OR e.customer_id = %(customer)s)
        OFFSET 0
    ) e
) e
WHERE b.aggregated_at IS NULL AND b.received_at <= %(until)s
GROUP BY e.customer_id
"""
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
    return AggregationState(as_of, seconds_between(as_of, at))


def aggregation_waits_by_customer(
    until: datetime, customer_id: int | None = None
) -> dict[int, datetime]:
    """Return since when each customer's events wait that were stored until an instant."""
    with connection.cursor() as cursor:
        cursor.execute(_BY_CUSTOMER, {"until": until, "customer": customer_id})
        return dict(cursor.fetchall())


def seconds_between(since: datetime, at: datetime) -> Decimal:
    """Return how long something waits, to the microsecond."""
    lag = at - since
    return Decimal(lag.days * 86_400 + lag.seconds + lag.microseconds * _MICROSECOND)


def open_episode() -> LagEpisode | None:
    """Return the stretch of lag that has not ended, or None."""
    return LagEpisode.objects.filter(closed_at=None).select_related("acknowledged_by").first()
