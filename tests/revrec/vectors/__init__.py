"""Published and derived worked examples that the rules are held against; each names its source."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from billing_project.kernel.money import settle
from billing_project.kernel.period import month_of
from revrec.posting import Lines, joined
from revrec.schedule import ScheduleDay

_PATH = Path(__file__).with_name("accounting.json")
VECTORS: Mapping[str, Mapping[str, Any]] = {
    vector["id"]: vector for vector in json.loads(_PATH.read_text())
}


def minor(amount: object, currency: str = "USD") -> int:
    """Return a published amount in minor units."""
    return settle(Decimal(str(amount)), currency)


def minors(amounts: list[object]) -> list[int]:
    """Return published amounts in minor units."""
    return [minor(amount) for amount in amounts]


def by_month(days: Iterable[ScheduleDay]) -> Mapping[date, int]:
    """Sum what days earn by the first day of their month, in order."""
    months: Counter[date] = Counter()
    for day in days:
        months[month_of(day.service_on)[0]] += day.amount_minor
    return months


def moved(*groups: Lines) -> dict[str, int]:
    """Sum the postings of entries by account; debits positive, what evens out is left out."""
    sums: Counter[str] = Counter()
    for line in joined(groups):
        sums[line.account.value] += line.amount_minor
    return {account: total for account, total in sorted(sums.items()) if total}
