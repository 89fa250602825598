"""Published fees: by the day, by the month, in leap years, and beside them cash and processor."""

from datetime import date

import pytest

from revrec.posting import (
    About,
    Account,
    CreditedPart,
    Settled,
    credit_note_issued,
    fee_earned,
    fee_invoiced,
    payment_received,
)
from revrec.provider import fee_kept
from revrec.schedule import months_alike, straight_line
from tests.revrec.vectors import VECTORS, by_month, minor, minors, moved

USD = About("USD")
QUARTER = (date(2026, 1, 1), date(2026, 4, 1))  # 31 + 28 + 31 days.


def _months(amount: int, start_on: date, end_on: date) -> list[int]:
    return list(by_month(straight_line(amount, start_on, end_on)).values())


# STR-01: 31.00 over 31 days is 1.00 a day; 15 to 31 January has 17 of them.
# STR-02 and STR-03: 365.00 over 365 days; the published months are their day counts.
@pytest.mark.parametrize("name", ["STR-01", "STR-02", "STR-03"])
def test_subscriptions_earn_by_the_day(name: str) -> None:
    inputs, expected = VECTORS[name]["inputs"], VECTORS[name]["expected"]
    amount = minor(inputs["amount"])
    start_on, end_on = (date.fromisoformat(text[:10]) for text in inputs["service"])
    by_name = expected.get("Revenue") or {m: row["Revenue"] for m, row in expected.items()}
    deferred = expected.get("DeferredRevenue") or {
        m: row["DeferredRevenue"] for m, row in expected.items()
    }

    earned = {
        f"{month:%Y-%m}": total
        for month, total in by_month(straight_line(amount, start_on, end_on)).items()
    }

    first = min(by_name)
    for month in by_name:
        assert earned[month] == minor(by_name[month])
        billed = amount if month == first else 0
        entry = moved(fee_invoiced(billed, USD), fee_earned(earned[month], USD))
        assert -entry["2120"] == minor(deferred[month])
    assert sum(earned.values()) == amount


def test_str_14_a_negative_line_becomes_balance_and_takes_revenue_back_by_the_day() -> None:
    expected = VECTORS["STR-14"]["expected"]
    claim = minor(VECTORS["STR-14"]["inputs"]["line"])

    first, second = _months(claim, date(2019, 1, 15), date(2019, 2, 15))
    # Ours is a note over what was paid ahead: it comes off the liability, and is owed back.
    off = CreditedPart(Account.FEES_LIABILITY, 0, -claim, USD)
    january = moved(
        credit_note_issued([off], Settled(0, owed_minor=-claim), USD), fee_earned(first, USD)
    )
    february = moved(fee_earned(second, USD))

    assert [-january["2200"], 0] == minors(expected["CustomerBalance"])
    assert [-january["4000"], -february["4000"]] == minors(expected["Revenue"])
    assert [-january["2120"], -february["2120"]] == minors(expected["DeferredRevenue"])
    assert "1100" not in january


def test_str_38_money_out_of_band_settles_the_claim() -> None:
    vector = VECTORS["STR-38"]
    amount, expected = minor(vector["inputs"]["amount"]), vector["expected"]

    january = moved(fee_invoiced(amount, USD), fee_earned(amount, USD))
    february = moved(payment_received(amount, USD))

    assert [january["1100"], february["1100"]] == minors(expected["AccountsReceivable"])
    assert [-january["4000"], 0] == minors(expected["Revenue"])
    # Published as an external asset; ours is cash and clearing, whatever way it came.
    assert [0, february["1000"]] == minors(expected["ExternalAsset"])


def test_str_39_the_processor_takes_its_fee_off_the_payment() -> None:
    vector = VECTORS["STR-39"]
    amount, fee = (minor(vector["inputs"][name]) for name in ("amount", "fee"))
    expected = vector["expected"]

    months = _months(amount, *QUARTER)
    first = moved(
        fee_invoiced(amount, USD),
        payment_received(amount, USD),
        fee_kept(fee, False, USD),
        fee_earned(months[0], USD),
    )

    assert months == minors(expected["Revenue"])
    assert [-first["2120"], *(-month for month in months[1:])] == minors(
        expected["DeferredRevenue"]
    )
    assert [first["1000"], 0, 0] == minors(expected["Cash"])
    assert [first["6100"], 0, 0] == minors(expected["Fees"])


def test_ldg_02_equal_months_are_another_policy_with_the_same_total() -> None:
    vector = VECTORS["LDG-02"]
    amount, fee = (minor(vector["inputs"][name]) for name in ("amount", "fee"))
    expected = vector["expected"]

    entry = moved(
        fee_invoiced(amount, USD), payment_received(amount, USD), fee_kept(fee, False, USD)
    )
    year = months_alike(amount, date(2026, 1, 1), date(2027, 1, 1))
    months = list(by_month(year).values())

    assert entry == {
        "1000": minor(expected["Dr Clearing"]),
        "6100": minor(expected["Dr Fees"]),
        "2120": -minor(expected["Cr Deferred"]),
    }
    assert months == [minor(expected["monthly"])] * 12


def test_kpm_05_an_up_front_fee_is_earned_with_the_service() -> None:
    vector = VECTORS["KPM-05"]
    total, months = minor(vector["inputs"]["total"]), vector["inputs"]["months"]

    assert months == 12
    steps = list(by_month(months_alike(total, date(2026, 1, 1), date(2027, 1, 1))).values())

    # Published 104 a month, which leaves 2 of 1,250 unearned; exact 104.1666, by cumulative cents.
    assert set(steps) == {10_416, 10_417}
    assert steps[0] // 100 == vector["expected"]["monthly_revenue"]
    assert sum(steps) == total


def test_a_quarter_of_a_leap_year_has_91_days() -> None:
    # 90.00 over the first quarter of 2024: 9000 * 31/91 = 3065.93; * 60/91 = 5934.07; 9000.
    assert _months(9_000, date(2024, 1, 1), date(2024, 4, 1)) == [3_066, 2_868, 3_066]
