"""Close what waits in quarantine once its sender reported the same event in good form."""

from collections.abc import Collection
from datetime import datetime

from django.db import connection

from billing_project.kernel import audit
from billing_project.kernel.users import worker_user
from metering.models import QuarantinedEvent
from metering.models.event import MENDABLE, QuarantineState

SUPERSEDED = "superseded by the stored event"

# Rows that a replay holds are left to it: it finds the stored event itself, and nobody waits.
_FIND = """
SELECT id FROM quarantined_event
WHERE (customer_external_id, identifier) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
  AND state = 'open' AND reason = ANY(%s)
ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""


def supersede_quarantined(stored: Collection[tuple[str, str]], at: datetime) -> int:
    """Dismiss open rows of events that were stored just now; return how many.

    Conflicts stay open.

    Args:
        stored: (customer's external id as it was sent, identifier).
    """
    if not stored:
        return 0
    rows = QuarantinedEvent.objects.in_bulk(_locked(stored))
    if not rows:
        return 0
    by = worker_user()
    for row in rows.values():
        audit.record(by=by, at=at, action="dismiss_quarantined", subject=row, reason=SUPERSEDED)
    return QuarantinedEvent.objects.filter(pk__in=rows).update(
        state=QuarantineState.DISMISSED, resolved_at=at, resolved_by=by, resolution=SUPERSEDED
    )


def _locked(stored: Collection[tuple[str, str]]) -> list[int]:
    customers, identifiers = zip(*stored, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [list(customers), list(identifiers), [str(one) for one in MENDABLE]])
        return [pk for (pk,) in cursor.fetchall()]
