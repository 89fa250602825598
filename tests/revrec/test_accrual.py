"""Overage before its invoice: cumulative by day, and claimed to the last unit."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from revrec.accrual import Accrual, DayUse, Price, accruals, borne

CENT = Price(Decimal("0.012"), "USD")
FIRST = date(2026, 11, 1)


def _days(*uses: str) -> list[DayUse]:
    return [DayUse(FIRST + timedelta(days=n), {None: Decimal(text)}) for n, text in enumerate(uses)]


def test_days_accrue_the_change_of_the_settled_total() -> None:
    steps = accruals(Decimal(0), _days("10", "10", "10"), CENT)

    # 0.12, 0.24, 0.36.
    assert [step.amount_minor for step in steps] == [12, 12, 12]


def test_small_days_carry_what_was_rounded_off() -> None:
    steps = accruals(Decimal(0), _days("0.3", "0.3", "0.3", "0.3"), CENT)

    # 0.0036 -> 0; 0.0072 -> 0.01; 0.0108 -> 0.01; 0.0144 -> 0.01.
    assert [step.amount_minor for step in steps] == [0, 1, 0, 0]


def test_a_correction_accrues_backward() -> None:
    [step] = accruals(Decimal(100), _days("-25"), CENT)

    assert step.amount_minor == -30  # 1.20 -> 0.90.


def test_yen_are_whole() -> None:
    steps = accruals(Decimal(0), _days("1", "1", "1"), Price(Decimal("0.4"), "JPY"))

    assert [step.amount_minor for step in steps] == [0, 1, 0]  # 0.4, 0.8, 1.2.


def test_concessions_follow_usage_down_and_up_again() -> None:
    # 100 credits, 1.20, of which 0.50 was conceded; cancelled to 0.24, then back to 0.72.
    steps = list(accruals(Decimal(100), _days("-80", "40"), CENT, conceded_minor=50))

    assert steps == [
        Accrual(FIRST, -96, -26, ((None, -96),)),
        Accrual(FIRST + timedelta(days=1), 48, 26, ((None, 48),)),
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.decimals(-(10**6), 10**6, places=6), max_size=12),
    st.decimals(0, 10, places=6),
    st.integers(0, 10**7),
)
def test_days_sum_to_usage_less_what_it_bears_of_concessions(
    uses: list[Decimal], unit_price: Decimal, conceded: int
) -> None:
    price = Price(unit_price, "USD")

    steps = list(
        accruals(Decimal(0), [DayUse(FIRST, {None: use}) for use in uses], price, conceded)
    )

    whole = price.of(sum(uses, Decimal(0)))
    earned = sum(step.amount_minor - step.conceded_minor for step in steps)
    assert sum(step.amount_minor for step in steps) == whole
    assert (
        earned
        == whole - borne(whole, conceded)
        == (max(0, whole - conceded) if whole > 0 else whole)
    )
