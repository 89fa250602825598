"""What every event is asked, by its name: read anew only after a meter or a version changed."""

from collections.abc import Mapping

from metering.judging import Screen
from metering.selectors.meters import rules_by_event_name
from metering.selectors.standing import Standing

Stamp = tuple[int, int]

_read: tuple[Stamp, Mapping[str, Screen]] | None = None  # One reference, so that threads may race.


def current_screens(now: Standing) -> Mapping[str, Screen]:
    """Return the screens of all event names that any meter reads."""
    global _read
    stamp, known = (now.version_count, now.version_sum), _read
    if known is None or known[0] != stamp:
        rules = rules_by_event_name()
        known = _read = (stamp, {name: Screen.of(rules[name]) for name in rules})
    return known[1]


def remembered_screens() -> tuple[Stamp, Mapping[str, Screen]] | None:
    """Return what was read last with its stamp, for whoever compares the stamp; None at first."""
    return _read
