"""Usage windows as plain Python would count them: the other opinion that tests compare with."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal

Windows = dict[tuple[str, str | None, datetime], tuple[Decimal, int]]


@dataclass(frozen=True)
class Report:
    """One event as it counts now."""

    identifier: str
    timestamp: datetime
    model: str | None
    tokens: str


def windows(
    aggregation: str, reports: Iterable[Report], until: datetime, rounds_up_from: datetime
) -> Windows:
    """Aggregate reports by model and hour; windows that nothing falls into are left out.

    Args:
        until: Up to where hours have passed.
        rounds_up_from: When a version took effect that rounds up to whole numbers.
    """
    if aggregation == "time_weighted_sum":
        exact = levels(aggregation, reports, until)
        return {
            key: (_rounded(said, key[2], rounds_up_from), count)
            for key, (said, count) in exact.items()
        }
    groups: dict[tuple[str, str | None, datetime], list[Report]] = defaultdict(list)
    for report in reports:
        hour = report.timestamp.replace(minute=0, second=0, microsecond=0)
        groups[aggregation, report.model, hour].append(report)
    return {
        key: (_total(aggregation, group, rounds_up_from), len(group))
        for key, group in groups.items()
    }


def levels(aggregation: str, reports: Iterable[Report], until: datetime) -> Windows:
    """Weigh each model's levels by time: microsecond by microsecond would say the same."""
    groups: dict[str | None, list[Report]] = defaultdict(list)
    for report in reports:
        groups[report.model].append(report)
    found: Windows = {}
    for model, group in groups.items():
        ordered = sorted(group, key=lambda one: (one.timestamp, one.identifier))
        hour = ordered[0].timestamp.replace(minute=0, second=0, microsecond=0)
        while hour < until or hour <= ordered[-1].timestamp:
            quantity, count = _hour_of_levels(ordered, hour), _within(ordered, hour)
            if quantity or count:
                found[aggregation, model, hour] = (quantity, count)
            hour += timedelta(hours=1)
    return found


def _within(ordered: list[Report], hour: datetime) -> int:
    return sum(hour <= one.timestamp < hour + timedelta(hours=1) for one in ordered)


def _hour_of_levels(ordered: list[Report], hour: datetime) -> Decimal:
    end = hour + timedelta(hours=1)
    amount = Decimal(0)
    for report, following in zip(ordered, [*ordered[1:], None], strict=True):
        stops = end if following is None else min(end, following.timestamp)
        lasts = (stops - max(hour, report.timestamp)) // timedelta(microseconds=1)
        amount += Decimal(report.tokens) * max(lasts, 0)
    exact = Context(prec=80)
    return exact.divide(amount, Decimal(3_600_000_000)).quantize(
        Decimal("1e-12"), ROUND_HALF_EVEN, exact
    )


def _rounded(value: Decimal, at: datetime, rounds_up_from: datetime) -> Decimal:
    return value if at < rounds_up_from else value.to_integral_value(ROUND_CEILING)


def _total(aggregation: str, group: list[Report], rounds_up_from: datetime) -> Decimal:
    values = [_rounded(Decimal(one.tokens), one.timestamp, rounds_up_from) for one in group]
    if aggregation == "sum":
        return sum(values, Decimal(0))
    if aggregation == "count":
        return Decimal(len(group))
    if aggregation == "max":
        return max(values)
    if aggregation == "min":
        return min(values)
    if aggregation == "unique":
        return Decimal(len({report.tokens for report in group}))
    last = max(group, key=lambda one: (one.timestamp, one.identifier))
    return _rounded(Decimal(last.tokens), last.timestamp, rounds_up_from)
