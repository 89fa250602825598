"""When the periods of a recurring grant begin. An anchor and a time zone in, instants out."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from billing_project.kernel.period import Period, add_months

_DAYS = {"day": 1, "week": 7}


def nth_start(anchor: datetime, unit: str, count: int, index: int, zone: str) -> datetime:
    """Return when the `index`-th period begins, counted from the anchor itself.

    Counting from the anchor, month ends do not drift: a rule of the 31st gives on the 28th in
    February and on the 31st again in March. The local time of day stays.

    Args:
        anchor: Aware; period 0 begins with it.
        unit: "day", "week" or "month".
        count: Units in a period, > 0.
        zone: The customer's IANA time zone.

    Returns:
        UTC.
    """
    if index == 0:
        return anchor.astimezone(UTC)
    local = anchor.astimezone(ZoneInfo(zone))
    if unit == "month":
        day = add_months(local.date(), count * index, local.day)
    else:
        day = local.date() + timedelta(days=_DAYS[unit] * count * index)
    return datetime.combine(day, local.time(), local.tzinfo).astimezone(UTC)


def days_after(start: datetime, days: int, zone: str) -> datetime:
    """Return the same local time so many days later, in UTC."""
    local = start.astimezone(ZoneInfo(zone))
    day = local.date() + timedelta(days=days)
    return datetime.combine(day, local.time(), local.tzinfo).astimezone(UTC)


def due_periods(
    anchor: datetime, unit: str, count: int, zone: str, *, until: datetime | None, at: datetime
) -> list[Period]:
    """List the periods that have begun by `at`, oldest first; none begins at or after `until`."""
    found: list[Period] = []
    start = anchor.astimezone(UTC)
    while start <= at and (until is None or start < until):
        end = nth_start(anchor, unit, count, len(found) + 1, zone)
        found.append(Period(start, end))
        start = end
    return found
