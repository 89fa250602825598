"""Price again what customers used, under the rates in force and under proposed ones.

Nothing is rated by asking. Usage is read in one query for all customers: thousands are no matter.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from billing_project.kernel.period import DAY, Period, hour_of
from credits.models import Pools, Rate, RateCardVersion
from credits.rating import WORKSPACE, RateOption, asked_of, match_rate
from credits.selectors.contents import content_of_rate
from credits.selectors.facts import rulebooks
from credits.selectors.tariffs import tariff_of_content
from credits.tariff import Charge, ChargeOutOfBounds, Tariff
from metering.aggregation import ADDITIVE
from metering.models import Meter

WITHOUT_PERIOD = timedelta(days=30)
# Meters that add up are summed over the hours of each customer's span. The others have one quantity
# a billing period: what was rated of it.
_USED = """
SELECT w.customer_id, w.meter_id, w.workspace_id, coalesce(min(p.external_id), ''),
       w.dimensions_key, min(w.dimensions::text),
       CASE WHEN %(by_day)s THEN extract(day FROM w.start_at - s.start_at)::int ELSE 0 END AS day,
       sum(CASE WHEN m.aggregation = ANY(%(additive)s) THEN w.quantity ELSE t.quantity END)
  FROM unnest(%(customers)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
       AS s (customer_id, start_at, end_at)
  JOIN usage_window w ON w.customer_id = s.customer_id
       AND w.start_at >= s.start_at AND w.start_at < s.end_at
  JOIN meter m ON m.id = w.meter_id
  LEFT JOIN workspace p ON p.id = w.workspace_id
  LEFT JOIN window_rating t ON t.window_id = w.id AND m.aggregation <> ALL(%(additive)s)
 GROUP BY w.customer_id, w.meter_id, w.workspace_id, w.dimensions_key, day
"""


@dataclass(frozen=True)
class Used:
    """What one customer used of a meter in one workspace, by dimensions."""

    meter_code: str
    workspace_id: int | None
    workspace: str
    dimensions_key: str
    dimensions: Mapping[str, str]
    quantity: Decimal


@dataclass(frozen=True)
class Priced:
    """The charge of one rate over what it pools, with its tiers."""

    meter_code: str
    dimensions: Mapping[str, str]
    workspace_id: int | None
    quantity: Decimal
    charge: Charge


@dataclass(frozen=True)
class _Rule:
    number: int
    meter_code: str
    dimensions: Mapping[str, str]
    tariff: Tariff
    pools: str


class Layer:
    """The rates of one version, as its content tells them."""

    def __init__(self, rates: Sequence[Mapping[str, Any]]) -> None:
        self._rules: dict[str, list[_Rule]] = defaultdict(list)
        self._matches: dict[tuple[str, str, str], _Rule | None] = {}
        for number, rate in enumerate(rates):
            code, pools = rate["meter_code"], rate.get("pools", Pools.WORKSPACE)
            rule = _Rule(number, code, rate["dimensions"], tariff_of_content(rate), pools)
            self._rules[code].append(rule)
        self._by_workspace = {
            code for code, rules in self._rules.items()
            if any(WORKSPACE in rule.dimensions for rule in rules)
        }  # fmt: skip

    def match(self, used: Used) -> _Rule | None:
        """Find the rate that fits best; None if none does."""
        place = used.workspace if used.meter_code in self._by_workspace else ""
        key = used.meter_code, used.dimensions_key, place
        if key not in self._matches:
            rules = self._rules.get(used.meter_code, [])
            by_number = {rule.number: rule for rule in rules}
            options = [RateOption(rule.number, rule.dimensions) for rule in rules]
            found = match_rate(options, asked_of(used.dimensions, place))
            self._matches[key] = by_number[found.id] if found else None
        return self._matches[key]


def layer_of(version: RateCardVersion) -> Layer:
    """Read the rates of a version that stands."""
    return Layer([content_of_rate(rate) for rate in Rate.objects.filter(version=version)])


def last_spans(customer_ids: Collection[int], at: datetime) -> dict[int, Period]:
    """Return the hours of each customer's last complete billing period, or the last 30 days."""
    spans = {}
    for customer_id, rules in rulebooks(customer_ids).items():
        ended = [period for period in rules.periods if period.end_at <= at]
        last = Period(hour_of(at - WITHOUT_PERIOD), hour_of(at))
        spans[customer_id] = rules.hours_of(ended[-1]) if ended else last
    return spans


def used_in(spans: Mapping[int, Period]) -> dict[int, list[Used]]:
    """Sum what customers used in their spans, by meter, workspace and dimensions."""
    found: dict[int, list[Used]] = {customer_id: [] for customer_id in spans}
    for customer_id, _, used in _read(spans, by_day=False):
        found[customer_id].append(used)
    return found


def used_by_day(spans: Mapping[int, Period]) -> dict[int, list[list[Used]]]:
    """Sum as `used_in`, for each 24 hours of a span by itself; the last may be shorter."""
    found: dict[int, list[list[Used]]] = {
        customer_id: [[] for _ in range(-((span.start - span.end) // DAY))]
        for customer_id, span in spans.items()
    }
    for customer_id, day, used in _read(spans, by_day=True):
        found[customer_id][day].append(used)
    return found


def _read(spans: Mapping[int, Period], *, by_day: bool) -> Iterator[tuple[int, int, Used]]:
    codes = dict(Meter.objects.values_list("pk", "code"))
    params: dict[str, Any] = {
        "additive": sorted(ADDITIVE),
        "customers": list(spans),
        "starts": [span.start for span in spans.values()],
        "ends": [span.end for span in spans.values()],
        "by_day": by_day,
    }
    with connection.cursor() as cursor:
        cursor.execute(_USED, params)
        for customer_id, meter_id, place, name, key, text, day, quantity in cursor.fetchall():
            if quantity:
                code, dimensions = codes[meter_id], json.loads(text)
                yield customer_id, day, Used(code, place, name, key, dimensions, quantity)


def priced(usage: Collection[Used], layers: Sequence[Layer]) -> list[Priced]:
    """Price one customer's usage; the first layer that has a rate for a part prices it.

    What no layer has a rate for, or is more than can be charged, is left out: it would wait.
    """
    quantities: dict[tuple[int, int, int | None], Decimal] = defaultdict(Decimal)
    rules: dict[tuple[int, int], _Rule] = {}
    for used in usage:
        for number, layer in enumerate(layers):
            if rule := layer.match(used):
                place = used.workspace_id if rule.pools == Pools.WORKSPACE else None
                rules[number, rule.number] = rule
                quantities[number, rule.number, place] += used.quantity
                break
    charged = (
        _charged(rules[number, rate], place, quantity)
        for (number, rate, place), quantity in quantities.items()
    )
    return [one for one in charged if one is not None]


def _charged(rule: _Rule, workspace_id: int | None, quantity: Decimal) -> Priced | None:
    try:
        charge = rule.tariff.charge(quantity)
    except ChargeOutOfBounds:
        return None
    return Priced(rule.meter_code, rule.dimensions, workspace_id, quantity, charge)
