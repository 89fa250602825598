"""When a subscription's periods begin and end.

A start instant, an interval and a time zone enter; period bounds in UTC leave. Each bound is
counted from the start itself, never from the bound before it, so that month ends do not drift.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from billing_project.kernel.period import Period, add_months, midnight


class Unit(StrEnum):
    """What an interval counts."""

    DAY = "day"
    MONTH = "month"


def bound(start: datetime, unit: Unit, count: int, index: int, zone: str) -> datetime:
    """Return the instant at which the `index`-th interval after the start begins.

    The local time of day stays as it was at the start, so a day with DST has 23 or 25 hours. A
    month that lacks the start's day ends on its last one; the next long month has it again.

    Args:
        start: Aware; bound 0 is this instant itself.
        count: Days or months in one interval, > 0.
        index: >= 0.
        zone: The customer's IANA time zone.

    Returns:
        UTC. A local time that DST skips is read with the offset from before the change.
    """
    if index == 0:
        return start.astimezone(UTC)
    local = start.astimezone(ZoneInfo(zone))
    steps = count * index
    if unit == Unit.DAY:
        day = local.date() + timedelta(days=steps)
    else:
        day = add_months(local.date(), steps, local.day)
    return datetime.combine(day, local.time(), local.tzinfo).astimezone(UTC)


def month_start(at: datetime, zone: str) -> datetime:
    """Return the first instant of the local month that an instant lies in, in UTC."""
    return midnight(at.astimezone(ZoneInfo(zone)).date().replace(day=1), zone)


def nth_period(start: datetime, unit: Unit, count: int, index: int, zone: str) -> Period:
    """Return one interval of a subscription: [bound(index), bound(index + 1))."""
    first = bound(start, unit, count, index, zone)
    return Period(first, bound(start, unit, count, index + 1, zone))
