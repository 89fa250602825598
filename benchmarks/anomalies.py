"""Anomalies: how many injected faults are found within two hours, and how many alarms are false.

Real requests of the demo's trace, laid over eight weeks of busy days, quiet nights and weekends;
the last four are looked at hour by hour, the customer's series and those of its models, workspaces
and keys. Each month of a customer is looked at once as it is, and once with each fault: a retry
loop, a switch to the dearest model, ten times the traffic, a sender that is stuck, and one key that
sends ten times as much. The thresholds were chosen on half of the customers; the others report.
"""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from billing_project.console.demo.traffic import MODELS, Request, credit_prices, read_requests
from credits.anomalies import WHOLE, Finding, HourUse, Key, Pattern
from credits.anomaly_series import examine_all, is_same_cause
from credits.selectors.hourly import LOOKED as KEPT

CUSTOMERS = int(os.environ.get("ANOMALY_CUSTOMERS", "4"))  # Of each half.
FAULTS = int(os.environ.get("ANOMALY_FAULTS", "10"))  # Of each kind in a customer's month.
WEEKS, LOOKED = 8, 4
HOURS, HOUR = WEEKS * 168, timedelta(hours=1)
GOAL_PERCENT, GOAL_ALARMS = 95, 1
_START = datetime(2026, 9, 7, tzinfo=UTC)  # A Monday.
_DAY = (3, 3, 3, 3, 3, 4, 6, 9, 12, 14, 15, 15, 14, 14, 15, 15, 14, 12, 10, 8, 7, 6, 5, 4)
_KINDS = ("retry loop", "model switch", "ten times", "stuck sender", "one key ten times")
_AFTER = 3  # An anomaly goes on so many hours after its last one: it is the same.
_PRICES = {(model, meter): price for meter, model, price in credit_prices()}
_FLOOR = Decimal(1)
_LIGHT = 20  # A light customer sends a request of so many.
_KEPT = KEPT // HOUR


class Call(NamedTuple):
    """One request."""

    model: str
    credits: Decimal
    workspace: str
    key: str


Series = dict[Key, list[HourUse]]


def run() -> None:
    """Measure, and print one line a figure."""
    requests = read_requests()
    _measure("thresholds chosen on", requests, range(CUSTOMERS))
    _measure("reported", requests, range(CUSTOMERS, 2 * CUSTOMERS))


def _measure(name: str, requests: Sequence[Request], customers: Sequence[int]) -> None:
    found, named, alarms = Counter[str](), 0, Counter[str]()
    for number in customers:
        calls = _months(requests, number)
        alarms.update(_episodes(_series(calls)))
        for kind in _KINDS:
            for at in _faults(number):
                series = _found(calls, kind, at)
                found[kind] += series is not None
                named += kind == _KINDS[-1] and series is not None and series != WHOLE
    light: Counter[str] = Counter()
    for number in customers:
        light.update(_episodes(_series(_months(requests[number::_LIGHT], number))))
    tried = CUSTOMERS * FAULTS
    recall = 100 * sum(found[kind] for kind in _KINDS[:-1]) / (tried * len(_KINDS[:-1]))
    print(f"{name}: {CUSTOMERS} customers of {len(requests):,} requests a month")
    for kind in _KINDS:
        print(
            f"{kind}: {found[kind]} of {tried} found within two hours ({found[kind] / tried:.0%})"
        )
    print(f"  by the name of the key, its workspace or model: {named} of {found[_KINDS[-1]]}")
    print(f"  recall of the first four {recall:.1f} %; goal {GOAL_PERCENT} %")
    print(f"false alarms: {alarms.total() / CUSTOMERS:.2f} a customer-month: {dict(alarms)}")
    print(
        f"  of light customers, who send a twentieth: {light.total() / CUSTOMERS:.2f};"
        f" goal {GOAL_ALARMS} at most: {dict(light)}"
    )


def _months(requests: Sequence[Request], number: int) -> list[list[Call]]:
    """Lay requests over the weeks twice, from another one on for each customer; in their order."""
    weights = [_weight(hour) for hour in range(HOURS)]
    turn = number * len(requests) // max(CUSTOMERS, 20)
    turned = [*requests[turn:], *requests[:turn]]
    half = HOURS // 2
    last = max(request.offset_ms for request in turned) + 1
    hours: list[list[Call]] = [[] for _ in range(HOURS)]
    for part in range(2):
        first = part * half
        ends = _cumulated(weights[first : first + half])
        # The trace's own gaps and crowds stay: its time is stretched over the hours' weights.
        hour = 0
        for place in sorted((_shifted(r, turned[0], last), r.row, r) for r in turned):
            while place[0] * ends[-1] >= ends[hour] * last:
                hour += 1
            hours[first + hour].append(_call(place[2]))
    return hours


def _shifted(request: Request, first: Request, last: int) -> int:
    return (request.offset_ms - first.offset_ms) % last


def _weight(hour: int) -> int:
    return _DAY[hour % 24] * (1 if hour % 168 >= 120 else 2)


def _cumulated(weights: Sequence[int]) -> list[int]:
    total, found = 0, []
    for weight in weights:
        total += weight
        found.append(total)
    return found


def _call(request: Request, model: str = "") -> Call:
    name = model or request.model
    counts = {
        "input_tokens": request.input_tokens,
        "cached_input_tokens": request.cached_input_tokens,
        "output_tokens": request.output_tokens,
    }
    spent = sum((_PRICES[name, meter] * n for meter, n in counts.items()), Decimal(0))
    chance = random.Random(request.conversation)
    place, key = chance.randrange(3), chance.randrange(4)
    return Call(name, spent, f"workspace {place}", f"{key}")


def _faults(number: int) -> Iterator[int]:
    """Choose hours of the last four weeks, the same at each run."""
    chance = random.Random(number)
    yield from (chance.randrange(HOURS - LOOKED * 168, HOURS - 4) for _ in range(FAULTS))


def _found(calls: Sequence[Sequence[Call]], kind: str, at: int) -> Key | None:
    """Inject one fault that lasts four hours, and look after its first and second hour."""
    hours = [list(hour) for hour in calls[: at + 2]]
    last = next(one for past in reversed(calls[:at]) for one in past)
    loops = {}
    for hour in range(at, at + 2):
        if kind == "stuck sender":
            hours[hour] = []
        elif kind == "ten times":
            hours[hour] = _ten_times(calls, hour)
        elif kind == "model switch":
            hours[hour] = [
                one._replace(model=MODELS[0], credits=one.credits * _dearer(one.model))
                for one in hours[hour]
            ]
        elif kind == "retry loop":
            hours[hour] += [last] * 360  # One each ten seconds.
            loops[hour] = 360
        else:
            of_key = [[one for one in past if one.key == last.key] for past in calls]
            hours[hour] += _ten_times(of_key, hour)
    series = _series(hours, loops)
    wanted = {
        "stuck sender": {Pattern.SILENCE},
        "ten times": {Pattern.SPIKE},
        "model switch": {Pattern.MODEL_SWITCH, Pattern.SPIKE},
        "retry loop": {Pattern.RETRY_LOOP},
        "one key ten times": {Pattern.SPIKE},
    }[kind]
    seen = [one for end in (at, at + 1) for one in _looked(series, end)]
    return next((one.series for one in seen if one.pattern in wanted), None)


def _ten_times(calls: Sequence[Sequence[Call]], hour: int) -> list[Call]:
    """Send what ten such hours send: the same calls are not sent again."""
    wanted = 10 * max(len(calls[hour]), 1)
    pool = [one for past in calls[max(hour - 300, 0) : hour + 1] for one in past]
    return pool[-wanted:]


def _dearer(model: str) -> Decimal:
    """How much the dearest model costs more, by its output."""
    return _PRICES[MODELS[0], "output_tokens"] / _PRICES[model, "output_tokens"]


def _series(calls: Sequence[Sequence[Call]], loops: dict[int, int] | None = None) -> Series:
    """Sum calls by hour: of the customer, and of each model, workspace and key from its first."""
    found: Series = {WHOLE: []}
    for number, hour in enumerate(calls):
        start = _START + number * HOUR
        counts: dict[Key, int] = defaultdict(int)
        parts: dict[Key, Decimal] = defaultdict(Decimal)
        for one in hour:
            for key in (("model", one.model), ("workspace", one.workspace), ("key", one.key)):
                counts[key] += 1
                parts[key] += one.credits
        by_model = {value: count for (name, value), count in counts.items() if name == "model"}
        spent = sum((one.credits for one in hour), Decimal(0))
        repeated = (loops or {}).get(number, 0)
        found[WHOLE].append(HourUse(start, spent, len(hour), parts, by_model, repeated))
        for key in {*parts, *found} - {WHOLE}:
            found.setdefault(key, []).append(HourUse(start, parts[key], counts[key]))
    return found


def _looked(series: Series, hour: int) -> list[Finding]:
    """Look at an hour as the worker does: with the four weeks before it."""
    count = len(series[WHOLE]) - 1 - hour
    until = {key: hours[: len(hours) - count][-_KEPT:] for key, hours in series.items()}
    return examine_all({key: hours for key, hours in until.items() if hours}, _FLOOR)


def _episodes(series: Series) -> Iterator[str]:
    """Look at each hour of the last weeks; what goes on is one alarm."""
    going: list[tuple[Finding, int]] = []
    for hour in range(HOURS - LOOKED * 168, HOURS):
        going = [(one, last) for one, last in going if hour - last <= _AFTER]
        for finding in _looked(series, hour):
            for number, (one, _) in enumerate(going):
                causes = {(cause.dimension, cause.value): cause.percent for cause in one.causes}
                is_silent = Pattern.SILENCE in (one.pattern, finding.pattern)
                if is_silent and one.pattern != finding.pattern:
                    continue
                if is_same_cause(one.series, causes, finding):
                    going[number] = (one, hour)
                    break
            else:
                going.append((finding, hour))
                yield f"{finding.pattern} of {finding.series[0]}"
