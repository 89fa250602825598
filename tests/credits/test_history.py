"""What is open of a period is what was added less what was undone, newest first."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.period import HOUR, Period
from credits.drawdown import Part, Use, give_back
from credits.history import PeriodHistory, RatedWindow

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
INPUT = Use(Period(NOON, NOON + HOUR), None, "input")
OUTPUT = replace(INPUT, meter_code="output")
INPUTS, OUTPUTS = (None, None, "input"), (None, None, "output")


def _window(id_: int) -> RatedWindow:
    return RatedWindow(id_, NOON, 1, 1, 1)


def test_reversed_overage_takes_from_the_newest_of_its_stack() -> None:
    history = PeriodHistory()
    history.add_overage(INPUTS, _window(1), INPUT, Decimal(5))
    history.add_overage(INPUTS, _window(2), INPUT, Decimal(3))
    history.add_overage(OUTPUTS, _window(3), OUTPUT, Decimal(9))

    history.add_overage(INPUTS, _window(1), INPUT, Decimal(-4))

    # 3 of window 2, then 1 of window 1.
    assert [f"{row.credits} of {row.window.id}" for row in history.open_overage()] == [
        "9 of 3",
        "4 of 1",
    ]
    assert history.overage_at(INPUTS) == 4


def test_covered_overage_is_its_own_windows() -> None:
    history = PeriodHistory()
    history.add_overage(INPUTS, _window(1), INPUT, Decimal(5))
    history.add_overage(INPUTS, _window(2), INPUT, Decimal(3))

    history.add_overage(INPUTS, _window(1), INPUT, Decimal(-2), is_cover=True)

    assert [f"{row.credits} of {row.window.id}" for row in history.open_overage()] == [
        "3 of 2",
        "3 of 1",
    ]


def test_returned_credits_close_the_newest_draws_of_their_grant() -> None:
    history = PeriodHistory()
    for grant_id, credits_ in ((1, "-4"), (2, "-3"), (1, "-2")):
        history.add_draw(INPUTS, grant_id, Decimal(credits_))

    history.add_draw(INPUTS, 1, Decimal(3))

    assert list(history.draws_at(INPUTS)) == [Part(2, Decimal(3)), Part(1, Decimal(3))]
    assert list(history.draws_at(OUTPUTS)) == []


steps = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(0, 9)), max_size=12)


@given(steps=steps)
@settings(max_examples=60, deadline=None)
def test_everything_that_was_charged_can_be_undone(steps: list[tuple[int, int, int]]) -> None:
    history = PeriodHistory()
    for grant_id, drawn, overage in steps:
        history.add_draw(INPUTS, grant_id, Decimal(-drawn))
        history.add_overage(INPUTS, _window(grant_id), INPUT, Decimal(overage))

    whole = Decimal(sum(drawn + overage for _, drawn, overage in steps))
    result = give_back(whole, history.overage_at(INPUTS), history.draws_at(INPUTS))
    history.add_overage(INPUTS, _window(1), INPUT, -result.overage)
    for part in result.parts:
        history.add_draw(INPUTS, part.grant_id, part.credits)

    assert list(history.draws_at(INPUTS)) == []
    assert history.overage_at(INPUTS) == 0
