"""Usage windows as plain Python would count them: the other opinion that tests compare with."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

Windows = dict[tuple[str, str | None, datetime], tuple[Decimal, int]]


@dataclass(frozen=True)
class Report:
    """One event as it counts now."""

    identifier: str
    timestamp: datetime
    model: str | None
    tokens: str


def windows(aggregation: str, reports: Iterable[Report]) -> Windows:
    """Aggregate reports by model and hour; windows that nothing falls into are left out."""
    groups: dict[tuple[str, str | None, datetime], list[Report]] = defaultdict(list)
    for report in reports:
        hour = report.timestamp.replace(minute=0, second=0, microsecond=0)
        groups[aggregation, report.model, hour].append(report)
    return {key: (_total(aggregation, group), len(group)) for key, group in groups.items()}


def _total(aggregation: str, group: list[Report]) -> Decimal:
    values = [Decimal(report.tokens) for report in group]
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
    return Decimal(max(group, key=lambda one: (one.timestamp, one.identifier)).tokens)
