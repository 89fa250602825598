"""Figures by day as data for the bundled charts; no database, no clock.

Rows of (day, series, amount) go in, the JSON that Chart.js draws comes out. Amounts stay exact
decimals: they are written as strings, which Chart.js reads.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal

Row = tuple[date, str, Decimal]
UnitRow = tuple[date, str, str, Decimal]  # The third is the unit or the currency.

# Apart for the colour-blind, and readable on white and on black.
COLOURS = ("#6366f1", "#10b981", "#f59e0b", "#06b6d4", "#ec4899", "#84cc16", "#a855f7", "#64748b")
_OTHERS = "others"
_GREY = "#9ca3af"


def days_until(last: date, count: int) -> list[date]:
    """List `count` days that end with `last`."""
    return [last - timedelta(days=count - 1 - i) for i in range(count)]


def by_unit(rows: Iterable[UnitRow]) -> dict[str, list[Row]]:
    """Part rows of different units: what is stacked in one picture is of one unit."""
    parts: dict[str, list[Row]] = {}
    for day, series, unit, amount in rows:
        parts.setdefault(unit, []).append((day, series, amount))
    return dict(sorted(parts.items()))


def chart_data(rows: Iterable[Row], days: Sequence[date], series_limit: int = 8) -> str:
    """Write rows as stacked series over the days.

    Args:
        rows: Amounts by day and series; days outside the range are left out.
        series_limit: The largest series are shown; the rest are summed as "others".

    Returns:
        JSON with a label for each day and one data set for each series, the largest first.
    """
    table = _by_series(rows, days)
    names = sorted(table, key=lambda name: (-sum(table[name].values()), name))
    if len(names) > series_limit:
        others = f"all {_OTHERS}" if _OTHERS in table else _OTHERS  # A model may be called so.
        table[others] = _sum(table[name] for name in names[series_limit - 1 :])
        names = [*names[: series_limit - 1], others]
    datasets = [
        {
            "label": name,
            "data": [f"{table[name].get(day, Decimal(0)):f}" for day in days],
            "backgroundColor": COLOURS[i % len(COLOURS)],
            "stack": "all",
        }
        for i, name in enumerate(names)
    ]
    return json.dumps({"labels": [f"{day:%b %d}" for day in days], "datasets": datasets})


def bars(labels: Sequence[str], series: Sequence[tuple[str, Sequence[Decimal | None]]]) -> str:
    """Write series as bars beside each other; None leaves a bar out.

    Args:
        series: Name and an amount for each label.
    """
    datasets = [
        {
            "label": name,
            "data": [None if amount is None else f"{amount:f}" for amount in amounts],
            "backgroundColor": COLOURS[i % len(COLOURS)],
        }
        for i, (name, amounts) in enumerate(series)
    ]
    return json.dumps({"labels": list(labels), "datasets": datasets})


def chart_options(*, is_stacked: bool = True) -> str:
    """Write the options that all charts share."""
    axis = {"grid": {"tickWidth": 0}, "border": {"width": 0}, "stacked": is_stacked}
    ticks = {"color": _GREY, "maxTicksLimit": 8, "maxRotation": 0}
    return json.dumps(
        {
            "animation": False,
            "responsive": True,
            "maintainAspectRatio": False,
            "interaction": {"mode": "index", "intersect": False},
            "datasets": {"bar": {"maxBarThickness": 14, "borderRadius": 2}},
            "plugins": {
                "legend": {
                    "align": "end",
                    "labels": {
                        "boxHeight": 7,
                        "boxWidth": 7,
                        "color": _GREY,
                        "usePointStyle": True,
                    },
                }
            },
            "scales": {
                "x": {**axis, "grid": {"display": False}, "ticks": ticks},
                "y": {**axis, "beginAtZero": True, "ticks": {**ticks, "maxTicksLimit": 5}},
            },
        }
    )


def _by_series(rows: Iterable[Row], days: Sequence[date]) -> dict[str, dict[date, Decimal]]:
    shown = set(days)
    table: dict[str, dict[date, Decimal]] = {}
    for day, name, amount in rows:
        if day in shown:
            series = table.setdefault(name, {})
            series[day] = series.get(day, Decimal(0)) + amount
    return table


def _sum(parts: Iterable[dict[date, Decimal]]) -> dict[date, Decimal]:
    total: dict[date, Decimal] = {}
    for part in parts:
        for day, amount in part.items():
            total[day] = total.get(day, Decimal(0)) + amount
    return total
