"""What capture asks before each batch, in one question: what could stand in the way of events."""

from datetime import datetime
from typing import NamedTuple

from django.db import connection

from metering.models.event import MENDABLE

# A meter's version that is made or withdrawn is a row of another transaction: count and sum tell.
# What was dismissed is asked for in the order of the index: the newest lies at the table's end.
_STANDING = """
SELECT (SELECT count(*) FROM meter_version),
       (SELECT coalesce(sum(xmin::text::bigint), 0)::bigint FROM meter_version),
       EXISTS (SELECT FROM late_event_policy p JOIN policy_change c ON c.id = p.policy_change_id
               WHERE p.treatment = 'quarantine' AND c.status = 'approved'
                 AND c.effective_at <= %(at)s),
       EXISTS (SELECT FROM quarantined_event WHERE state = 'open' AND reason = ANY(%(mendable)s)),
       (SELECT true FROM quarantined_event WHERE state = 'dismissed' ORDER BY reason LIMIT 1)
           IS NOT NULL
"""


class Standing(NamedTuple):
    """Nearly always nothing: then a batch costs no further questions."""

    version_count: int  # Of meters; with the sum it changes whenever a version does.
    version_sum: int
    keeps_late_events: bool  # Some approved policy quarantines them.
    waits_for_better: bool  # Some quarantined event is closed by a good report of it.
    was_dismissed: bool  # Some quarantined event: its repeat is not billed either.


def standing(at: datetime) -> Standing:
    """Ask the question."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, {"at": at, "mendable": [str(one) for one in MENDABLE]})
        return Standing(*cursor.fetchone())
