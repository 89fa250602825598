"""Forget what was sent long ago: deliveries that ended, then the words of what they told.

A delivery that waits is never touched. That something happened stays as a row with its key, so that
nobody is told of it twice; what it was stands in the facts that it told of, which stay.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import connection, transaction

from billing_project.kernel import audit
from billing_project.kernel.models import User, WebhookEndpoint

_AT_ONCE = 1_000  # Rows of a transaction.
_DELETE = """
WITH old AS (
    SELECT id FROM webhook_delivery
    WHERE next_try_at IS NULL AND coalesce(delivered_at, given_up_at) < %s
    ORDER BY coalesce(delivered_at, given_up_at) LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM webhook_delivery d USING old WHERE d.id = old.id RETURNING d.endpoint_id
"""
# The lock first, the look afterwards: a delivery that is written meanwhile waits for the lock.
_LOCK = """
SELECT e.id FROM webhook_event e
WHERE e.at < %s AND e.body <> ''
  AND NOT EXISTS (SELECT FROM webhook_delivery d WHERE d.event_id = e.id)
ORDER BY e.at LIMIT %s FOR UPDATE SKIP LOCKED
"""
_EMPTY = """
UPDATE webhook_event e SET body = '' WHERE e.id = ANY (%s)
  AND NOT EXISTS (SELECT FROM webhook_delivery d WHERE d.event_id = e.id)
"""


def forget_webhooks(
    *, days: int, by: User, at: datetime, is_over: Callable[[], bool] = lambda: False,
    at_once: int = _AT_ONCE,
) -> int:  # fmt: skip
    """Delete deliveries that ended so many days ago, and empty their events; return how many rows.

    Goes on until nothing is left or the time is over, each batch a transaction of its own.

    Args:
        days: 0 keeps everything.
    """
    if not days:
        return 0
    until, count = at - timedelta(days=days), 0
    for step in (_delete_some, _empty_some):
        while not is_over() and (done := step(until, at_once, by, at)):
            count += done
    return count


@transaction.atomic
def _delete_some(until: datetime, most: int, by: User, at: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_DELETE, [until, most])
        counts = Counter(pk for (pk,) in cursor.fetchall())
    for endpoint in WebhookEndpoint.objects.filter(pk__in=counts).order_by("pk"):
        audit.record(
            by=by, at=at, action="forget_webhooks", subject=endpoint, until=until.isoformat(),
            count=counts[endpoint.pk],
        )  # fmt: skip
    return counts.total()


@transaction.atomic
def _empty_some(until: datetime, most: int, by: User, at: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [until, most])
        cursor.execute(_EMPTY, [[pk for (pk,) in cursor.fetchall()]])
        return int(cursor.rowcount)
