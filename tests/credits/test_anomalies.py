"""What is odd about an hour: worked examples of each pattern, and what never is."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credits.anomalies import Cause, HourUse, Pattern, examine, new_key, usual_of

MONDAY = datetime(2026, 9, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hour(number: int, calls: int, each: int = 2, model: str = "small", place: str = "") -> HourUse:
    amount = Decimal(calls * each)
    parts = {("model", model): amount, ("workspace", place): amount}
    return HourUse(MONDAY + number * HOUR, amount, calls, parts, {model: calls})


def weeks(count: int, calls: Sequence[int] = (10,)) -> list[HourUse]:
    """Return so many weeks in which the calls repeat, hour by hour."""
    return [hour(n, calls[n % len(calls)]) for n in range(count * 168)]


def then(hours: list[HourUse], *last: HourUse) -> list[HourUse]:
    """Let other hours follow, in their place."""
    start = len(hours)
    return [*hours, *(replace(h, start=MONDAY + (start + n) * HOUR) for n, h in enumerate(last))]


def test_ten_times_the_usual_is_a_spike_with_its_cause() -> None:
    # Two hours of 10 calls at 2 credits are 40 usually; now 20 + 200.
    found = examine(then(weeks(4), hour(0, 10), hour(0, 100, place="batch")))

    assert found
    assert found.pattern == Pattern.SPIKE
    assert (found.observed, found.expected) == (Decimal(220), Decimal(40))
    assert found.impact == 180
    # The model spent 220, 40 of them as ever; the new workspace spent 200.
    assert found.causes == (Cause("workspace", "batch", 100), Cause("model", "small", 100))


def test_the_same_call_again_and_again_is_a_loop() -> None:
    last = replace(hour(0, 100), repeated=90)

    found = examine(then(weeks(4), hour(0, 10), last))

    assert found
    assert found.pattern == Pattern.RETRY_LOOP
    # One large call is no loop, though it is all of them.
    large = replace(hour(0, 1, 500), repeated=1)
    assert examine(then(weeks(4, (1,)), hour(0, 1), large)).pattern == Pattern.SPIKE  # type: ignore[union-attr]


def test_calls_of_another_model_are_a_switch_where_they_cost_more() -> None:
    # A tenth of the calls is `large` at 8 credits, the others 2: 2.6 each on average. Now all are
    # large: 20 x 8 = 160, where 20 x 2.6 = 52 were usual. Not three times as much: no spike.
    mixed = [
        replace(
            hour(n, 10),
            credits=Decimal(26),
            parts={("model", "small"): Decimal(18), ("model", "large"): Decimal(8)},
            calls_by_model={"small": 9, "large": 1},
        )
        for n in range(4 * 168)
    ]
    dearer, cheaper = hour(0, 10, 7, "large"), hour(0, 10, 2, "small")

    found = examine(then(mixed, dearer, dearer))

    assert found
    assert found.pattern == Pattern.MODEL_SWITCH
    assert found.causes == (Cause("model", "large", 100),)
    assert examine(then(mixed, cheaper, cheaper)) is None


def test_nothing_where_much_comes_is_silence() -> None:
    found = examine(then(weeks(4), hour(0, 0), hour(0, 0)))

    assert found
    assert (found.pattern, found.impact) == (Pattern.SILENCE, Decimal(-40))
    assert examine(then(weeks(4, (3,)), hour(0, 0), hour(0, 0))) is None  # 6 calls may stay away.


def test_busy_days_and_quiet_nights_are_usual_in_their_hours() -> None:
    day = [5] * 8 + [60] * 10 + [5] * 6
    known = weeks(4, day)

    assert examine(known[: 4 * 168 - 14 + 2]) is None  # The first two busy hours of a day.
    assert examine(then(known, hour(0, 5), hour(0, 60))) is not None  # At midnight 60 are odd.


def test_the_young_are_held_against_a_moving_average() -> None:
    young = [hour(n, 10) for n in range(48)]

    assert usual_of(young).credits == 40
    assert examine(then(young, hour(0, 10), hour(0, 100))) is not None
    assert examine(then(young[:20], hour(0, 100), hour(0, 100))) is None  # Nothing is usual yet.


def test_a_loop_makes_nothing_usual_of_the_young() -> None:
    # Of 500 calls 40 count: 10 + 30 / 48 an hour on average.
    young = [hour(n, 500 if n == 60 else 10) for n in range(61)]

    assert round(usual_of(young).calls, 9) == round(2 * (10 + Decimal(30) / 48), 9)


def test_one_bad_week_changes_nothing_of_what_is_usual() -> None:
    known = weeks(4)
    known[168 : 2 * 168] = [hour(n, 500) for n in range(168, 2 * 168)]

    assert usual_of(known).credits == 40


def test_trifles_disturb_nobody() -> None:
    assert examine(then(weeks(4), hour(0, 10), hour(0, 100)), floor=Decimal(180)) is None


def test_where_calls_are_rare_a_spike_is_beyond_the_most_of_the_last_weeks() -> None:
    rare = [hour(n, 12 if n % 97 == 0 else 0) for n in range(4 * 168)]

    assert examine(then(rare, hour(0, 0), hour(0, 15))) is None
    assert examine(then(rare, hour(0, 0), hour(0, 60))) is not None


def test_a_key_that_was_never_used_spends_at_once() -> None:
    def found(*, is_known: bool, spent: str = "50") -> object:
        return new_key("key 7", MONDAY, Decimal(spent), is_known, Decimal(1))

    assert found(is_known=True) is None
    assert found(is_known=False, spent="1") is None
    assert found(is_known=False) is not None


@settings(max_examples=30)
@given(st.lists(st.integers(5, 20), min_size=24, max_size=24), st.integers(0, 167))
def test_a_week_that_repeats_itself_is_never_odd(day: list[int], at: int) -> None:
    assert examine(weeks(5, day)[: 4 * 168 + at + 1]) is None


@pytest.mark.parametrize("factor", [2, 3, 10])
def test_more_of_everything_scores_higher(factor: int) -> None:
    low = examine(then(weeks(4), hour(0, 60), hour(0, 60)))
    high = examine(then(weeks(4), hour(0, 60 * factor), hour(0, 60 * factor)))

    assert low
    assert high
    assert high.score > low.score
