"""Keep what a replay found of events that it could not store, and let them wait for that now."""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from billing_project.kernel.models import User
from metering.judging import Verdict
from metering.models import QuarantinedEvent, QuarantineTry

_FOLLOW = """
UPDATE quarantined_event q SET reason = t.reason, detail = t.detail FROM quarantine_try t
WHERE t.id = ANY(%s) AND q.id = t.event_id AND (q.reason, q.detail) <> (t.reason, t.detail)
"""


def keep_tries(found: Sequence[tuple[QuarantinedEvent, Verdict]], by: User, at: datetime) -> None:
    """Write a try for each event that stays open; a row whose reason is another one follows it.

    Args:
        found: Rows that the caller has locked, with what keeps each from being stored.
    """
    tries = QuarantineTry.objects.bulk_create(
        QuarantineTry(
            event=row, reason_before=row.reason, detail_before=row.detail,
            reason=verdict.code, detail=verdict.detail, tried_by=by, tried_at=at,
        )
        for row, verdict in found
    )  # fmt: skip
    if tries:
        with connection.cursor() as cursor:
            cursor.execute(_FOLLOW, [[one.pk for one in tries]])
