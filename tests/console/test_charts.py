"""Charts show every amount of their days, exactly."""

import json
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.console.charts import (
    COLOURS,
    Row,
    bars,
    by_unit,
    chart_data,
    chart_options,
    days_until,
)

LAST = date(2026, 11, 20)
DAYS = days_until(LAST, 3)


def test_days_end_with_the_last_one() -> None:
    assert [date(2026, 11, 18), date(2026, 11, 19), LAST] == DAYS


def test_a_day_without_an_amount_is_zero_and_the_largest_series_comes_first() -> None:
    rows: list[Row] = [
        (DAYS[0], "small", Decimal("0.1")),
        (DAYS[0], "small", Decimal("0.2")),
        (DAYS[2], "large", Decimal("1e3")),
    ]

    data = json.loads(chart_data(rows, DAYS))

    assert data["labels"] == ["Nov 18", "Nov 19", "Nov 20"]
    assert [(s["label"], s["data"]) for s in data["datasets"]] == [
        ("large", ["0", "0", "1000"]),
        ("small", ["0.3", "0", "0"]),
    ]


def test_what_happened_on_other_days_is_left_out() -> None:
    rows: list[Row] = [(LAST + timedelta(days=1), "late", Decimal(1))]

    assert json.loads(chart_data(rows, DAYS))["datasets"] == []


def test_the_smallest_series_are_summed_as_others() -> None:
    rows: list[Row] = [(LAST, f"model {i}", Decimal(i)) for i in range(1, 6)]

    data = json.loads(chart_data(rows, DAYS, series_limit=3))

    # 5 and 4 stand alone; 3 + 2 + 1 = 6 are the others, and come last.
    assert [(s["label"], s["data"][-1]) for s in data["datasets"]] == [
        ("model 5", "5"),
        ("model 4", "4"),
        ("others", "6"),
    ]


def test_a_model_called_others_keeps_its_amount() -> None:
    rows: list[Row] = [
        (LAST, "others", Decimal(9)),
        (LAST, "b", Decimal(2)),
        (LAST, "a", Decimal(1)),
    ]

    data = json.loads(chart_data(rows, DAYS, series_limit=2))

    assert [(s["label"], s["data"][-1]) for s in data["datasets"]] == [
        ("others", "9"),
        ("all others", "3"),
    ]


def test_what_is_of_different_units_is_parted() -> None:
    rows = [(LAST, "m", "token", Decimal(9)), (LAST, "m", "request", Decimal(2))]

    assert by_unit(rows) == {
        "request": [(LAST, "m", Decimal(2))],
        "token": [(LAST, "m", Decimal(9))],
    }


def test_options_are_json_for_stacked_bars() -> None:
    options = json.loads(chart_options())

    assert options["scales"]["x"]["stacked"]
    assert options["scales"]["y"]["stacked"]


amounts = st.decimals(-(10**12), 10**12, places=6)
rows_of_days = st.lists(
    st.tuples(st.sampled_from(DAYS), st.sampled_from([f"m{i}" for i in range(12)]), amounts),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(rows_of_days)
def test_no_amount_is_lost(rows: list[Row]) -> None:
    datasets = json.loads(chart_data(rows, DAYS))["datasets"]

    shown = sum(Decimal(text) for series in datasets for text in series["data"])
    assert shown == sum(amount for _, _, amount in rows)
    assert len(datasets) <= len(COLOURS)


def test_bars_stand_beside_each_other_and_leave_gaps() -> None:
    text = bars(
        ["small", "big"], [("supplier", [Decimal("5E-1"), None]), ("v1", [Decimal(0), Decimal(0)])]
    )

    first, second = json.loads(text)["datasets"]
    assert (first["label"], first["data"]) == ("supplier", ["0.5", None])
    assert second["data"] == ["0", "0"]
    assert first["backgroundColor"] != second["backgroundColor"]
    assert json.loads(chart_options(is_stacked=False))["scales"]["y"]["stacked"] is False
