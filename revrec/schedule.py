"""How a fee becomes revenue: straight-line by service day.

A price and its service days come in; what each day earns goes out, in minor units. Rounding is
cumulative, so that the days always sum to the price. No clock, no ledger.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing_project.kernel.money import prorate
from billing_project.kernel.period import DAY, add_months, midnight


@dataclass(frozen=True)
class ScheduleDay:
    """What one service day earns."""

    service_on: date
    amount_minor: int


def day_of(at: datetime, zone: str) -> date:
    """Return the day of the books on which an instant falls: its date in their zone.

    A day on which clocks change has 23 or 25 hours, and is one day.
    """
    return at.astimezone(ZoneInfo(zone)).date()


def start_of(day: date, zone: str) -> datetime:
    """Return the first instant of a day of the books, in UTC."""
    return midnight(day, zone)


def service_days(start_at: datetime, end_at: datetime, zone: str) -> tuple[date, date]:
    """Return the service days of a period as [start_on, end_on).

    A period that starts during a day begins with that day and ends before the day it ends on, so
    that periods which follow one another never share a day. It has at least one day.
    """
    start_on = day_of(start_at, zone)
    return start_on, max(day_of(end_at, zone), start_on + DAY)


def straight_line(amount_minor: int, start_on: date, end_on: date) -> Iterator[ScheduleDay]:
    """Spread an amount over days: each earns round(amount * days done / days) less the days before.

    Args:
        amount_minor: Whole price, or after a price revision what is left of it, in minor units.
        start_on: First day; after a revision the first day not yet earned.
        end_on: Exclusive.

    Returns:
        Every day in order; the amounts sum to `amount_minor` exactly.
        Source: IFRS 15.35(a), 39-41; accounting.md 4, rule 12.
    """
    days = (end_on - start_on).days
    earned = 0
    for done in range(1, days + 1):
        target = prorate(amount_minor, Decimal(done), Decimal(days))
        yield ScheduleDay(start_on + DAY * (done - 1), target - earned)
        earned = target


def equal_months(amount_minor: int, start_on: date, months: int) -> Iterator[ScheduleDay]:
    """Spread an amount over months of equal weight, each earned on the day it begins.

    Returns:
        One step a month; the amounts sum to `amount_minor` exactly.
    """
    earned = 0
    for done in range(1, months + 1):
        target = prorate(amount_minor, Decimal(done), Decimal(months))
        yield ScheduleDay(add_months(start_on, done - 1, start_on.day), target - earned)
        earned = target


def months_alike(amount_minor: int, start_on: date, end_on: date) -> Iterator[ScheduleDay]:
    """Spread an amount over the months of a service, each of equal weight, its days alike.

    Where the service is no whole number of months, over its days.

    Returns:
        Every day in order; the amounts sum to `amount_minor` exactly.
    """
    count = (end_on.year - start_on.year) * 12 + end_on.month - start_on.month
    if count < 1 or add_months(start_on, count, start_on.day) != end_on:
        yield from straight_line(amount_minor, start_on, end_on)
        return
    for index, month in enumerate(equal_months(amount_minor, start_on, count), start=1):
        until = add_months(start_on, index, start_on.day)
        yield from straight_line(month.amount_minor, month.service_on, until)


def respread(amount_minor: int, days: Sequence[ScheduleDay]) -> Iterator[ScheduleDay]:
    """Spread what is left of a fee over days in proportion to what they were to earn before.

    Returns:
        Every day in order; the amounts sum to `amount_minor` exactly, unless nothing was to be
        earned on any of them: then none is.
    """
    whole = sum(day.amount_minor for day in days)
    done = earned = 0
    for day in days if whole else ():
        done += day.amount_minor
        target = prorate(amount_minor, Decimal(done), Decimal(whole))
        yield ScheduleDay(day.service_on, target - earned)
        earned = target
