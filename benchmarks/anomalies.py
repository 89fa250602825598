"""Anomalies: how many injected faults are found within two hours, and how many alarms are false.

Real requests of the demo's trace, laid over eight weeks of busy days, quiet nights and weekends;
the last four are looked at hour by hour. Each month of a customer is looked at once as it is, and
once with each fault: a retry loop, a switch to the dearest model, ten times the traffic, a sender
that is stuck. Light customers, who send a twentieth of it, show what is false there.
"""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from billing_project.console.demo.traffic import MODELS, Request, credit_prices, read_requests
from credits.anomalies import HourUse, Pattern, examine

CUSTOMERS = int(os.environ.get("ANOMALY_CUSTOMERS", "8"))
FAULTS = int(os.environ.get("ANOMALY_FAULTS", "10"))  # Of each kind in a customer's month.
WEEKS, LOOKED = 8, 4
HOURS, HOUR = WEEKS * 168, timedelta(hours=1)
GOAL_PERCENT, GOAL_ALARMS = 95, 1
_START = datetime(2026, 9, 7, tzinfo=UTC)  # A Monday.
_DAY = (3, 3, 3, 3, 3, 4, 6, 9, 12, 14, 15, 15, 14, 14, 15, 15, 14, 12, 10, 8, 7, 6, 5, 4)
_KINDS = ("retry loop", "model switch", "ten times", "stuck sender")
_AFTER = 3  # An anomaly goes on so many hours after its last one: it is the same.
_PRICES = {(model, meter): price for meter, model, price in credit_prices()}
Call = tuple[str, Decimal]  # Model, credits.


def run() -> None:
    """Measure, and print one line a figure."""
    requests = read_requests()
    found, alarms, months = Counter[str](), 0, 0
    for number in range(CUSTOMERS):
        calls = _months(requests, number)
        alarms += len(_episodes(_uses(calls)))
        months += 1
        for kind in _KINDS:
            for at in _faults(number):
                found[kind] += _is_found(calls, kind, at)
    light = sum(len(_episodes(_uses(_months(requests[n::20], n)))) for n in range(20))
    tried = CUSTOMERS * FAULTS
    recall = 100 * sum(found.values()) / (tried * len(_KINDS))
    for kind in _KINDS:
        print(
            f"{kind}: {found[kind]} of {tried} found within two hours ({found[kind] / tried:.0%})"
        )
    print(f"  recall {recall:.1f} %; goal {GOAL_PERCENT} %")
    print(f"false alarms: {alarms / months:.2f} a customer-month of {len(requests):,} requests")
    print(
        f"  of light customers, 600 requests a month: {light / 20:.2f}; goal {GOAL_ALARMS} at most"
    )


def _months(requests: Sequence[Request], number: int) -> list[list[Call]]:
    """Lay requests over the weeks twice, from another one on for each customer; in their order."""
    weights = [_weight(hour) for hour in range(HOURS)]
    turn = number * len(requests) // max(CUSTOMERS, 20)
    turned = [*requests[turn:], *requests[:turn]]
    half = HOURS // 2
    hours: list[list[Call]] = [[] for _ in range(HOURS)]
    for part in range(2):
        first = part * half
        ends = _cumulated(weights[first : first + half])
        # The trace's own gaps and crowds stay: its time is stretched over the hours' weights.
        last = max(request.offset_ms for request in turned) + 1
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
    return name, sum((_PRICES[name, meter] * n for meter, n in counts.items()), Decimal(0))


def _faults(number: int) -> Iterator[int]:
    """Choose hours of the last four weeks, the same at each run."""
    chance = random.Random(number)
    yield from (chance.randrange(HOURS - LOOKED * 168, HOURS - 4) for _ in range(FAULTS))


def _is_found(calls: Sequence[Sequence[Call]], kind: str, at: int) -> bool:
    """Inject one fault that lasts four hours, and look after its first and second hour."""
    hours = [list(hour) for hour in calls[: at + 2]]
    loops = {}
    for hour in range(at, at + 2):
        if kind == "stuck sender":
            hours[hour] = []
        elif kind == "ten times":
            hours[hour] = _ten_times(calls, hour)
        elif kind == "model switch":
            hours[hour] = [(MODELS[0], cost * _dearer(model)) for model, cost in hours[hour]]
        else:
            call = next(one for past in reversed(calls[:at]) for one in past)
            hours[hour] += [call] * 360  # One each ten seconds.
            loops[hour] = 360
    uses = _uses(hours, loops)
    wanted = {
        "stuck sender": {Pattern.SILENCE},
        "ten times": {Pattern.SPIKE},
        "model switch": {Pattern.MODEL_SWITCH, Pattern.SPIKE},
        "retry loop": {Pattern.RETRY_LOOP},
    }[kind]
    seen = [examine(uses[: end + 1]) for end in (at, at + 1)]
    return any(one and one.pattern in wanted for one in seen)


def _ten_times(calls: Sequence[Sequence[Call]], hour: int) -> list[Call]:
    """Send what ten such hours send: the same calls are not sent again."""
    wanted = 10 * max(len(calls[hour]), 1)
    pool = [one for past in calls[max(hour - 300, 0) : hour + 1] for one in past]
    return pool[-wanted:]


def _dearer(model: str) -> Decimal:
    """How much the dearest model costs more, by its output."""
    return _PRICES[MODELS[0], "output_tokens"] / _PRICES[model, "output_tokens"]


def _uses(calls: Sequence[Sequence[Call]], loops: dict[int, int] | None = None) -> list[HourUse]:
    found = []
    for number, hour in enumerate(calls):
        by_model: dict[str, int] = defaultdict(int)
        parts: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for model, cost in hour:
            by_model[model] += 1
            parts["model", model] += cost
        found.append(
            HourUse(
                _START + number * HOUR, sum((c for _, c in hour), Decimal(0)), len(hour), parts,
                by_model, (loops or {}).get(number, 0),
            )
        )  # fmt: skip
    return found


def _episodes(uses: Sequence[HourUse]) -> list[tuple[Pattern, int]]:
    """Look at each hour of the last weeks; what goes on is one alarm."""
    found: list[tuple[Pattern, int]] = []
    last: dict[Pattern, int] = {}
    for hour in range(HOURS - LOOKED * 168, HOURS):
        one = examine(uses[: hour + 1])
        if one is None:
            continue
        if hour - last.get(one.pattern, -HOURS) > _AFTER:
            found.append((one.pattern, hour))
        last[one.pattern] = hour
    return found
