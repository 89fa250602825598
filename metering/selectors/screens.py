"""What every event is asked, by its name: read anew only after a meter or a version changed."""

from collections.abc import Mapping

from django.db import connection

from metering.judging import Screen
from metering.selectors.meters import rules_by_event_name

Stamp = tuple[int, int]

# A version that is made or withdrawn is a row of another transaction: count and sum tell.
_STAMP = "SELECT count(*), coalesce(sum(xmin::text::bigint), 0) FROM meter_version"

_read: tuple[Stamp, Mapping[str, Screen]] | None = None  # One reference, so that threads may race.


def current_screens() -> Mapping[str, Screen]:
    """Return the screens of all event names that any meter reads."""
    global _read
    stamp, known = _stamp(), _read
    if known is None or known[0] != stamp:
        rules = rules_by_event_name()
        known = _read = (stamp, {name: Screen.of(rules[name]) for name in rules})
    return known[1]


def _stamp() -> Stamp:
    with connection.cursor() as cursor:
        cursor.execute(_STAMP)
        count, total = cursor.fetchone()
    return count, int(total)
