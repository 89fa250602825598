"""One finding for each cause: worked examples of what names it, and of what goes on."""

from dataclasses import replace
from decimal import Decimal

import pytest

from credits.anomalies import WHOLE, Cause, Finding, HourUse, Key, Pattern, may_be_odd
from credits.anomaly_series import examine_all, is_same_cause
from tests.credits.test_anomalies import HOUR, MONDAY

LENGTH = 4 * 168 + 4
A, B, X, K = ("workspace", "a"), ("workspace", "b"), ("model", "x"), ("key", "7")
PLAIN = {A: 20, B: 20, X: 40, K: 20}  # Calls an hour of each; key 7 is workspace a's.


def hours(calls: int, *last: int) -> list[HourUse]:
    """Return hours of so many calls at 2 credits each, the last ones as said."""
    counts = [calls] * (LENGTH - len(last)) + list(last)
    return [HourUse(MONDAY + n * HOUR, Decimal(2 * count), count) for n, count in enumerate(counts)]


def world(last: dict[Key, int]) -> dict[Key, list[HourUse]]:
    """Return series of a customer and its parts; in the last two hours with other calls."""
    found = {key: hours(calls, *[last.get(key, calls)] * 2) for key, calls in PLAIN.items()}
    whole = [
        HourUse(one.start, one.credits + two.credits, one.calls + two.calls,
                {A: one.credits, B: two.credits, X: one.credits + two.credits, K: key.credits})
        for one, two, key in zip(found[A], found[B], found[K], strict=True)
    ]  # fmt: skip
    return {WHOLE: whole, **found}


def found_of(last: dict[Key, int]) -> list[tuple[str, Key]]:
    return [(one.pattern.value, one.series) for one in examine_all(world(last), Decimal(1))]


def test_a_key_that_spends_ten_times_as_much_is_one_finding_by_its_name() -> None:
    # Key 7, its workspace, the model and the customer all have 180 calls more; the key and its
    # workspace spend the least in all.
    (one,) = examine_all(world({K: 200, A: 200, X: 220}), Decimal(1))

    assert (one.pattern, one.series) == (Pattern.SPIKE, K)
    assert (one.observed, one.expected) == (Decimal(800), Decimal(80))
    assert {(cause.dimension, cause.value) for cause in one.causes} >= {K, A, X}


def test_what_no_part_explains_is_the_customers() -> None:
    # Both workspaces, five times as much each: either is half of it.
    assert found_of({A: 100, B: 100, X: 200}) == [("spike", WHOLE)]


def test_a_part_is_watched_where_the_customer_hides_it() -> None:
    # 2 of 402 calls become 40: a tenth more of the customer is nothing, and a part that is odd.
    quiet = world({})
    small: Key = ("workspace", "c")
    quiet[WHOLE] = [replace(one, calls=402, credits=Decimal(804)) for one in quiet[WHOLE][:-2]] + [
        replace(one, calls=440, credits=Decimal(880)) for one in quiet[WHOLE][-2:]
    ]
    quiet[small] = hours(2, 40, 40)

    (one,) = examine_all(quiet, Decimal(1))

    assert one.series == small


def test_silence_of_a_workspace_is_named_by_it_and_of_all_by_the_customer() -> None:
    assert found_of({A: 0, K: 0, X: 20}) == [("silence", A)]
    assert found_of({A: 0, B: 0, K: 0, X: 0}) == [("silence", WHOLE)]


def test_use_that_moved_is_no_silence() -> None:
    assert found_of({A: 0, B: 40}) == []  # Key 7 goes on in another workspace.
    assert found_of({K: 0}) == []  # Its workspace uses another key.


def test_where_more_came_than_is_missing_nothing_is_silent() -> None:
    # Workspace b and the customer spend the same now: it is the customer's.
    assert found_of({A: 0, K: 0, B: 400, X: 400}) == [("spike", WHOLE)]


def finding(series: Key, *causes: tuple[Key, int]) -> Finding:
    parts = tuple(Cause(*key, percent) for key, percent in causes)
    return Finding(Pattern.SPIKE, MONDAY, Decimal(9), Decimal(1), Decimal(7), parts, series)


@pytest.mark.parametrize(
    ("going", "causes", "now", "is_same"),
    [
        (K, {K: 100}, finding(K, (K, 100)), True),
        (A, {A: 100, K: 90}, finding(K, (K, 100)), True),  # Narrower now.
        (K, {K: 100}, finding(WHOLE, (K, 80), (X, 20)), True),
        (K, {K: 100}, finding(WHOLE, (K, 20), (B, 80)), False),  # Another one beside it.
        (K, {K: 100, X: 100}, finding(B, (B, 100), (X, 100)), False),
        (WHOLE, {X: 100}, finding(K, (K, 90), (X, 100)), True),
        (WHOLE, {A: 50, B: 50}, finding(("key", "9"), (("key", "9"), 90)), False),
        (WHOLE, {}, finding(A, (A, 100)), True),
    ],
)
def test_what_goes_on_is_the_same_cause(
    going: Key, causes: dict[Key, int], now: Finding, is_same: bool
) -> None:
    assert is_same_cause(going, causes, now) is is_same


@pytest.mark.parametrize("last", [{K: 200, A: 200, X: 220}, {A: 0, K: 0, X: 20}, {B: 62, X: 82}])
def test_what_is_found_was_worth_a_closer_look(last: dict[Key, int]) -> None:
    series = world(last)
    usual = [(Decimal(4 * calls), 2 * calls) for calls in PLAIN.values()]
    close = [
        may_be_odd((sum((h.credits for h in hours[-2:]), Decimal(0)),
                    sum(h.calls for h in hours[-2:])), [one] * 12, Decimal(1))
        for hours, one in zip([series[key] for key in PLAIN], usual, strict=True)
    ]  # fmt: skip

    assert any(close) or not examine_all(series, Decimal(1))
