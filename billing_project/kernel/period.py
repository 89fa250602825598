"""Half-open periods of time: [start, end), UTC and aware."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, order=True)
class Period:
    """Instants from start up to, and not including, end."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.utcoffset() is None or self.end.utcoffset() is None:
            raise ValueError("period bounds are aware instants")
        if self.end <= self.start:
            raise ValueError("a period ends after it starts")

    def __contains__(self, at: datetime) -> bool:
        return self.start <= at < self.end

    def days(self, zone: str = "UTC") -> list[date]:
        """List the local dates touched, first to last; DST makes none of them count twice."""
        tz = ZoneInfo(zone)
        first = self.start.astimezone(tz).date()
        last = (self.end - timedelta(microseconds=1)).astimezone(tz).date()
        return [first + timedelta(days=i) for i in range((last - first).days + 1)]


def hour_of(at: datetime) -> datetime:
    """Return the start of the UTC hour that contains the instant."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def days_text(start: datetime, end: datetime, zone: str) -> str:
    """Write a period by its days in a customer's calendar: its first, and the first after it."""
    first, after = (at.astimezone(ZoneInfo(zone)).date() for at in (start, end))
    return f"{first} to {after}"


def midnight(day: date, zone: str = "UTC") -> datetime:
    """Return the first instant of a local date, in UTC."""
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)


def month_of(day: date) -> tuple[date, date]:
    """Return the first day of the date's month and of the next one."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def months_between(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Yield (first day, first day of the next) for every month that touches [first, last]."""
    start, end = month_of(first)
    while start <= last:
        yield start, end
        start, end = month_of(end)


def add_months(at: date, count: int, anchor_day: int) -> date:
    """Move a date by months, to the anchor day or the month's last day if it is shorter."""
    month = at.year * 12 + at.month - 1 + count
    first = date(month // 12, month % 12 + 1, 1)
    last_day = (month_of(first)[1] - DAY).day
    return first.replace(day=min(anchor_day, last_day))
