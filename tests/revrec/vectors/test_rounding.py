"""Derived examples of splitting money: by days, by yen, by dinars, below zero."""

from datetime import date

from billing_project.kernel.money import Money, allocate
from revrec.schedule import straight_line
from tests.revrec.vectors import VECTORS, by_month


def test_own_01_a_quarter_by_days() -> None:
    vector = VECTORS["OWN-01"]
    amount, days = vector["inputs"]["minor"], vector["inputs"]["days"]

    months = by_month(straight_line(amount, date(2026, 1, 1), date(2026, 4, 1)))

    # 10000 * 31/90 = 3444.44; * 59/90 = 6555.56 -> 6556 - 3444 = 3112; the rest is 3444.
    assert list(months.values()) == vector["expected"]["cumulative"]
    assert allocate(amount, days) == vector["expected"]["largest_remainder"]


def test_own_03_yen_have_no_decimals() -> None:
    vector = VECTORS["OWN-03"]
    amount, weights = vector["inputs"]["minor"], vector["inputs"]["weights"]

    days = straight_line(amount, date(2026, 1, 1), date(2026, 1, 1 + len(weights)))

    # 1000/7 = 142.86: 143, 286, 429, 571, 714, 857, 1000.
    assert [day.amount_minor for day in days] == vector["expected"]["cumulative"]
    assert allocate(amount, weights) == vector["expected"]["largest_remainder"]


def test_own_04_dinars_have_three_decimals() -> None:
    vector = VECTORS["OWN-04"]

    parts = allocate(vector["inputs"]["minor"], vector["inputs"]["weights"])

    assert parts == vector["expected"]["largest_remainder"]
    assert [f"{Money(part, 'KWD').decimal:f}" for part in parts] == vector["expected"]["as_money"]


def test_own_05_negative_totals_split_by_their_absolute_value() -> None:
    vector = VECTORS["OWN-05"]

    assert (
        allocate(vector["inputs"]["minor"], vector["inputs"]["weights"])
        == (vector["expected"]["alloc"])
    )
