"""What is odd about an hour of somebody's use: hours before it in, findings with their cause out.

The last two hours are held against what is usual there: the median and the median deviation of the
same hours of the week, an hour to either side, once there are three weeks; before that a moving
average. One series in; `anomaly_series` holds several of a customer together. Knows no customers by
name, no tables and no clock.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from statistics import median

_ZERO, _ONE = Decimal(0), Decimal(1)
WEEK = 168
LOOK = 2  # Hours that are looked at together.
WEEKS = 4
# So many hours before the two that are looked at begin those that they are held against.
SAMPLES = tuple(week * WEEK - shift for week in range(1, WEEKS + 1) for shift in (-1, 0, 1))
_NORMAL = Decimal("1.4826")  # A median deviation of so much of a normal one.
_DECAY = Decimal(1) / 48  # The moving average forgets half of an hour in some 33 hours.
_YOUNG_HOURS = 24  # Before that nothing is usual.
_MOST_TIMES = Decimal(4)
SCORE, RATIO = Decimal(6), Decimal(3)  # A spike is so many deviations above, and so many times.
_WILD = Decimal(3)  # Counts vary so much more than rare events do; calls come in conversations.
SILENT_CALLS = Decimal(7)  # So many calls are missing before silence is one.
FEW_SHARE = Decimal("0.25")  # Silence is odd where more than this share always comes.
PART_SCORE, PART_SILENT_CALLS = Decimal(10), Decimal(14)
# Where fewer calls are usual, a spike is beyond so many times the most of the last weeks.
FEW_CALLS, _BEYOND = Decimal(5), Decimal("1.5")
_SWITCH_SHARE, _SWITCH_CALLS = Decimal("0.35"), 6
_SWITCH_SCORE, _SWITCH_DEARER = Decimal("4.5"), Decimal("1.3")
_REPEATS, _LOOP = Decimal("0.5"), 10  # Of all calls, and at least, with the same content.


Key = tuple[str, str]  # A dimension and its value: ("model", "gpt-5.4").
WHOLE: Key = ("customer", "")


class Pattern(StrEnum):
    """What it looks like."""

    SPIKE = "spike"
    RETRY_LOOP = "retry_loop"
    MODEL_SWITCH = "model_switch"
    NEW_KEY = "new_key"
    SILENCE = "silence"


@dataclass(frozen=True)
class HourUse:
    """What was used in one hour.

    Attributes:
        parts: Credits by dimension and value: {("model", "gpt-5.4"): 12, ("workspace", "prod"): 9}.
        calls_by_model: How many of the calls each model had.
        repeated: Calls of the most frequent content; 0 where nobody looked.
    """

    start: datetime
    credits: Decimal = _ZERO
    calls: int = 0
    parts: Mapping[Key, Decimal] = field(default_factory=dict)
    calls_by_model: Mapping[str, int] = field(default_factory=dict)
    repeated: int = 0


@dataclass(frozen=True)
class Cause:
    """A value of a dimension, and how much of what is odd it explains, of 100."""

    dimension: str
    value: str
    percent: int


@dataclass(frozen=True)
class Finding:
    """Something odd: credits that were used beyond what is usual, or that stayed away (negative).

    `score` counts usual deviations; `series` is whose hours these are.
    """

    pattern: Pattern
    start: datetime
    observed: Decimal
    expected: Decimal
    score: Decimal
    causes: tuple[Cause, ...]
    series: Key = WHOLE

    @property
    def impact(self) -> Decimal:
        """Credits more than usual; less than 0 for silence."""
        return self.observed - self.expected


@dataclass(frozen=True)
class Usual:
    """What two hours usually come to, and how far they usually are from that.

    `few_calls` is what they came to at least, but for once.
    """

    credits: Decimal
    calls: Decimal
    credits_spread: Decimal
    calls_spread: Decimal
    few_calls: Decimal


def examine(hours: Sequence[HourUse], floor: Decimal = _ZERO) -> Finding | None:
    """Look at the last hour of a series, together with the one before it.

    Args:
        hours: One for each hour without a gap, the oldest first; empty hours too.
        floor: Credits that an impact has to reach, so that trifles disturb nobody.

    Returns:
        The most telling finding, or None: silence, a loop or spike, then a switch of models.
    """
    seen, before = hours[-LOOK:], hours[:-LOOK]
    if len(before) < _YOUNG_HOURS:
        return None
    usual = usual_of(before)
    return (
        _silence(seen, usual, SILENT_CALLS)
        or _spike(seen, before, usual, floor, SCORE)
        or _switch(seen, before, floor)
    )


def examine_part(hours: Sequence[HourUse], floor: Decimal = _ZERO) -> Finding | None:
    """Look at the last hours of a model, workspace or key: there are many, so that more is asked.

    Silence counts once the hours of the week are known: parts begin and end.
    """
    seen, before = hours[-LOOK:], hours[:-LOOK]
    if len(before) < _YOUNG_HOURS:
        return None
    usual = usual_of(before)
    if len(before) >= WEEKS * WEEK and (silence := _silence(seen, usual, PART_SILENT_CALLS)):
        return silence
    return _spike(seen, before, usual, floor, PART_SCORE)


def may_be_odd(
    seen: tuple[Decimal, int], samples: Sequence[tuple[Decimal, int]], floor: Decimal
) -> bool:
    """Tell from two hours and from what was there before whether to look closer: never too seldom.

    Args:
        samples: Credits and calls of all twelve samples (see `usual_of`); nothing is zero.
    """
    usual, (spent, calls) = _seasonal(samples), seen
    if not calls and usual.calls >= min(SILENT_CALLS, PART_SILENT_CALLS):
        return True
    is_more = spent >= RATIO * usual.credits or calls >= RATIO * usual.calls
    return is_more and spent - usual.credits > floor


def grown_model(now: Mapping[str, int], then: Mapping[str, int]) -> tuple[str, Decimal] | None:
    """Name a model that has a much larger share of the calls than before, with its score."""
    calls, whole = sum(now.values()), sum(then.values())
    if calls < _SWITCH_CALLS or not whole:
        return None
    for model, count in now.items():
        share, before_share = Decimal(count) / calls, Decimal(then.get(model, 0)) / whole
        room = max(before_share * (1 - before_share), Decimal("0.02"))
        score = (share - before_share) * (Decimal(calls) / room).sqrt()
        if share - before_share >= _SWITCH_SHARE and score >= _SWITCH_SCORE:
            return model, score
    return None


def new_key(
    name: str, start: datetime, spent: Decimal, is_known: bool, floor: Decimal
) -> Finding | None:
    """Tell of a key that was never used before and spends at once."""
    if is_known or spent <= floor:
        return None
    cause = (Cause("key", name, 100),)
    return Finding(Pattern.NEW_KEY, start, spent, _ZERO, _ONE, cause, ("key", name))


def usual_of(before: Sequence[HourUse]) -> Usual:
    """Say what the two hours after a series usually come to.

    Twelve samples of three weeks and more: of each week the same two hours, and those an hour
    earlier and later. Their median stands, so that one bad week changes nothing.
    """
    samples = _same_hours(before)
    if len(samples) >= 9:
        return _seasonal(samples)
    return _moving(before)


def causes_of(seen: Iterable[HourUse], before: Sequence[HourUse], weight: Decimal) -> list[Cause]:
    """Name what most of an excess comes from: per dimension the values that grew most.

    Args:
        before: What is usual of each value is its share of the last week there, by the hour.
        weight: The excess in credits, > 0.
    """
    now: dict[Key, Decimal] = defaultdict(Decimal)
    then: dict[Key, Decimal] = defaultdict(Decimal)
    count = 0
    for hour in seen:
        count += 1
        for key, amount in hour.parts.items():
            now[key] += amount
    week = before[-WEEK:]
    for hour in week:
        for key, amount in hour.parts.items():
            then[key] += amount
    grown = {key: amount - then[key] * count / max(len(week), 1) for key, amount in now.items()}
    found = [
        Cause(dimension, value, min(int(amount * 100 / weight), 100))
        for (dimension, value), amount in sorted(grown.items(), key=lambda one: -one[1])
        if amount * 5 >= weight
    ]
    return found[:5]


def _same_hours(before: Sequence[HourUse]) -> list[tuple[Decimal, int]]:
    """Return two hours together: a week, two, three, four ago, and an hour to either side."""
    found = []
    for back in SAMPLES:
        start = len(before) - back
        if start >= 0:
            pair = before[start : start + LOOK]
            found.append((_spent(pair), sum(hour.calls for hour in pair)))
    return found


def _seasonal(samples: Sequence[tuple[Decimal, int]]) -> Usual:
    spent, calls = [one for one, _ in samples], [Decimal(one) for _, one in samples]
    usual_credits, usual_calls = median(spent), median(calls)
    return Usual(
        usual_credits,
        usual_calls,
        _NORMAL * median(abs(one - usual_credits) for one in spent),
        _NORMAL * median(abs(one - usual_calls) for one in calls),
        sorted(calls)[1],
    )


def _moving(before: Sequence[HourUse]) -> Usual:
    """Average hours with weights that halve every 33 hours, and their deviations the same.

    After the first day an hour counts as four times the usual calls at most, and as four of them
    at least: a loop makes nothing usual.
    """
    spent = calls = spent_off = calls_off = _ZERO
    for number, hour in enumerate(before):
        part = max(_DECAY, _ONE / (number + 1))
        most = _MOST_TIMES * max(calls, _ONE)
        counts = _ONE if number < _YOUNG_HOURS or hour.calls <= most else most / hour.calls
        now_spent, now_calls = hour.credits * counts, hour.calls * counts
        spent_off += part * (abs(now_spent - spent) - spent_off)
        calls_off += part * (abs(now_calls - calls) - calls_off)
        spent += part * (now_spent - spent)
        calls += part * (now_calls - calls)
    calls *= LOOK
    return Usual(LOOK * spent, calls, LOOK * spent_off, LOOK * calls_off, calls)


def _silence(seen: Sequence[HourUse], usual: Usual, least: Decimal) -> Finding | None:
    """Find that nothing came where much does, and never as good as nothing."""
    if any(hour.calls for hour in seen) or usual.calls < least:
        return None
    if usual.few_calls < FEW_SHARE * usual.calls:
        return None
    score = usual.calls / (_WILD * usual.calls).sqrt()
    return Finding(Pattern.SILENCE, seen[0].start, _ZERO, usual.credits, score, ())


def _spike(
    seen: Sequence[HourUse],
    before: Sequence[HourUse],
    usual: Usual,
    floor: Decimal,
    least: Decimal,
) -> Finding | None:
    """Find much more credits than usual, or much more calls that cost something."""
    spent = _spent(seen)
    calls = sum(hour.calls for hour in seen)
    excess = spent - usual.credits
    if excess <= floor or excess <= 0:
        return None
    if usual.calls < FEW_CALLS and spent < _BEYOND * _largest(before):
        return None
    each = usual.credits / usual.calls if usual.calls else spent / max(calls, 1)
    rare = (_WILD * max(usual.calls, _ONE)).sqrt()
    score = max(
        _score(spent, usual.credits, max(usual.credits_spread, each * rare)),
        _score(Decimal(calls), usual.calls, max(usual.calls_spread, rare)),
    )
    if score < least:
        return None
    repeated = sum(hour.repeated for hour in seen)
    is_loop = repeated >= _LOOP and repeated >= _REPEATS * calls
    pattern = Pattern.RETRY_LOOP if is_loop else Pattern.SPIKE
    causes = tuple(causes_of(seen, before, excess))
    return Finding(pattern, seen[0].start, spent, usual.credits, score, causes)


def _score(observed: Decimal, usual: Decimal, spread: Decimal) -> Decimal:
    """Count deviations; less than so many times the usual is no spike, however regular that is."""
    if observed < RATIO * usual or not spread:
        return _ZERO
    return (observed - usual) / spread


def _largest(before: Sequence[HourUse]) -> Decimal:
    """Return the most that two hours of the last weeks came to: a median of rare calls is 0."""
    hours = [hour.credits for hour in before[-WEEKS * WEEK :]]
    return max((sum(pair, _ZERO) for pair in pairwise(hours)), default=_ZERO)


def _switch(seen: Sequence[HourUse], before: Sequence[HourUse], floor: Decimal) -> Finding | None:
    """Find that a model has a much larger share of the calls than usual, and that calls cost more.

    Calls count at what a call of their model costs on average, so that a large one proves nothing.
    """
    past = before[-WEEKS * WEEK :]
    now, calls = _by_model(seen)
    then, whole = _by_model(past)
    each = _each(past, seen)
    usual = sum((each[model] * count for model, count in then.items()), _ZERO)
    if calls < _SWITCH_CALLS or not whole or not usual:
        return None
    expected = usual * calls / whole
    observed = sum((each[model] * count for model, count in now.items()), _ZERO)
    if observed < _SWITCH_DEARER * expected or observed - expected <= floor:
        return None
    if (grown := grown_model(now, then)) is None:
        return None
    model, score = grown
    cause, start = Cause("model", model, 100), seen[0].start
    return Finding(Pattern.MODEL_SWITCH, start, observed, expected, score, (cause,))


def _each(past: Sequence[HourUse], seen: Sequence[HourUse]) -> dict[str, Decimal]:
    """Return what a call of each model costs on average; a new one by what it did just now."""
    found: dict[str, Decimal] = {}
    for hours in (seen, past):
        counts, _ = _by_model(hours)
        for model, count in counts.items():
            parts = (hour.parts.get(("model", model), _ZERO) for hour in hours)
            found[model] = sum(parts, _ZERO) / count
    return found


def _by_model(hours: Iterable[HourUse]) -> tuple[dict[str, int], int]:
    found: dict[str, int] = defaultdict(int)
    for hour in hours:
        for model, count in hour.calls_by_model.items():
            if count:
                found[model] += count
    return found, sum(found.values())


def _spent(hours: Iterable[HourUse]) -> Decimal:
    return sum((hour.credits for hour in hours), _ZERO)
