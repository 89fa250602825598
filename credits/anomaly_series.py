"""What is odd about a customer: its own hours and those of each model, workspace and key in, one
finding for each cause out.

A key that spends ten times as much shows in its workspace, its model and the customer too. The
narrowest series that explains it names it; the others are no findings of their own. What costs more
and what stays away are two causes. Knows no tables and no clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from credits.anomalies import (
    LOOK,
    WHOLE,
    Cause,
    Finding,
    HourUse,
    Key,
    Pattern,
    examine,
    examine_part,
    usual_of,
)

_EXPLAINS = Decimal("0.8")  # Of the largest excess.
_MOVED = Decimal("0.5")  # A part lacks what elsewhere came: less than this of it is missing.
_MOST = 50  # Of 100.
_NARROW = ("customer", "key", "workspace", "model")
MOST_CAUSES = 5


def examine_all(series: Mapping[Key, Sequence[HourUse]], floor: Decimal) -> list[Finding]:
    """Look at the last two hours of a customer and of its parts.

    Args:
        series: Hours without a gap by dimension and value, all ending with the same one; under
            `WHOLE` the customer's.

    Returns:
        What costs more, then what stays away; one finding of each at most.
    """
    whole = series[WHOLE]
    found = {} if (first := examine(whole, floor)) is None else {WHOLE: first}
    for key, hours in series.items():
        if key != WHOLE and (finding := examine_part(hours, floor)):
            found[key] = replace(finding, series=key)
    if len(found) > len(found.keys() & {WHOLE}):
        found = _unmoved(found, whole)
    silent = {key: one for key, one in found.items() if one.pattern == Pattern.SILENCE}
    odd = {key: one for key, one in found.items() if key not in silent}
    return [name(those) for name, those in ((_named, odd), (_widest, silent)) if those]


def is_same_cause(going: Key, causes: Mapping[Key, int], finding: Finding) -> bool:
    """Tell whether a finding is of the cause of an anomaly that goes on.

    Args:
        causes: What the anomaly was found to come from, of 100.
    """
    explained = {(one.dimension, one.value): one.percent for one in finding.causes}
    if finding.series == going or finding.series in causes or explained.get(going, 0) >= _MOST:
        return True
    if WHOLE not in (going, finding.series):
        return False
    shared = (key for key, percent in causes.items() if percent >= _MOST)
    return not causes or any(explained.get(key, 0) >= _MOST for key in shared)


def _unmoved(found: Mapping[Key, Finding], whole: Sequence[HourUse]) -> dict[Key, Finding]:
    """Leave out parts whose use only moved: to another model, or to another workspace or key."""
    usual = usual_of(whole[:-LOOK])
    more = sum((hour.credits for hour in whole[-LOOK:]), Decimal(0)) - usual.credits

    def stays(key: Key, one: Finding) -> bool:
        if key == WHOLE or (one.pattern != Pattern.SILENCE and key[0] != "model"):
            return True
        return more / one.impact >= _MOVED if one.impact else False

    return {key: one for key, one in found.items() if stays(key, one)}


def _named(found: Mapping[Key, Finding]) -> Finding:
    """Return the finding of the narrowest series that explains the largest excess."""
    largest = max(one.impact for one in found.values())
    explaining = [one for one in found.values() if one.impact >= _EXPLAINS * largest]
    best = min(explaining, key=lambda one: (one.observed, _NARROW.index(one.series[0])))
    whole = found.get(WHOLE)
    if whole is None:
        return replace(best, causes=_causes(found, largest))
    if best.series == WHOLE:
        return whole
    return replace(best, pattern=whole.pattern, causes=whole.causes or _causes(found, largest))


def _widest(found: Mapping[Key, Finding]) -> Finding:
    """Return the finding of the series that lacks most; the customer's, where all is silent."""
    most = max(-one.impact for one in found.values())
    whole = found.get(WHOLE)
    if whole is not None:
        return whole
    return replace(
        max(found.values(), key=lambda one: (-one.impact, one.series[0] != "key")),
        causes=_causes(found, -most),
    )


def _causes(found: Mapping[Key, Finding], largest: Decimal) -> tuple[Cause, ...]:
    """Say of each series how much of the largest excess it is."""
    ordered = sorted(found.values(), key=lambda one: (-abs(one.impact), one.series))
    return tuple(
        Cause(*one.series, min(int(one.impact * 100 / largest), 100))
        for one in ordered[:MOST_CAUSES]
        if one.series != WHOLE
    )
