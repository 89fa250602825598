"""Cost basis of grants: worked examples, then what holds for every ledger."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revrec.basis import CostBasis, Movement, releases

DAY_1, DAY_2 = date(2026, 1, 10), date(2026, 1, 11)


def _use(number: int, used: str, on: date = DAY_1) -> Movement:
    return Movement(number, on, -Decimal(used))


def test_many_small_uses_do_not_round_to_nothing() -> None:
    # 10,000 uses of 0.000375 of 10 credits for 10.00: 3.75 in all, not 0.
    basis = CostBasis(1_000, Decimal(10))
    movements = [_use(n, "0.000375", DAY_1 + timedelta(days=n % 28)) for n in range(10_000)]

    steps = releases(basis, Decimal(0), 0, movements)

    assert sum(step.amount_minor for step in steps) == 375


def test_uses_of_one_day_are_one_release() -> None:
    basis = CostBasis(1_000, Decimal(100))

    steps = list(releases(basis, Decimal(0), 0, [_use(1, "3"), _use(2, "4", DAY_2), _use(3, "5")]))

    assert [(step.service_on, step.amount_minor, step.transaction_ids) for step in steps] == [
        (DAY_1, 80, (1, 3)),
        (DAY_2, 40, (2,)),
    ]


def test_returned_credits_come_back_at_the_basis_they_had() -> None:
    basis = CostBasis(1_000, Decimal(3))  # 333, then 334.

    [release] = releases(basis, Decimal(2), 667, [Movement(9, DAY_2, Decimal(1))])

    assert release.amount_minor == -334


def test_credits_returned_after_expiry_move_from_usage_to_breakage() -> None:
    # All 10.00 is recognised: 6.00 used, 4.00 broken. One credit of ten comes back and lapses.
    basis = CostBasis(1_000, Decimal(10))
    back = Movement(9, DAY_2, Decimal(1))
    lapse = Movement(10, DAY_1, Decimal(-1), ends_grant=True)

    returned, ended = releases(basis, Decimal(6), 1_000, [back, lapse], ended=Decimal(4))

    assert (returned.amount_minor, returned.is_breakage) == (-100, False)
    assert (ended.amount_minor, ended.is_breakage) == (100, True)


def test_a_grant_without_a_price_earns_nothing() -> None:
    [release] = releases(CostBasis(0, Decimal(100)), Decimal(0), 0, [_use(1, "60")])

    assert release.amount_minor == 0


@pytest.mark.parametrize("left", ["0", "0.000000000001", "37"])
def test_use_and_breakage_end_on_the_price(left: str) -> None:
    used = Decimal(100) - Decimal(left)
    movements = [_use(1, str(used))]
    if Decimal(left):
        movements.append(Movement(2, DAY_2, -Decimal(left), ends_grant=True))

    steps = releases(CostBasis(9_999, Decimal(100)), Decimal(0), 0, movements)

    assert sum(step.amount_minor for step in steps) == 9_999


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**9),
    st.lists(st.decimals("0.000001", "1000", places=6), min_size=1, max_size=20),
    st.integers(0, 20),
)
def test_however_it_is_cut_a_ledger_earns_the_same(
    price: int, uses: list[Decimal], cut: int
) -> None:
    basis = CostBasis(price, sum(uses, Decimal(0)))
    movements = [_use(n, str(use)) for n, use in enumerate(uses)]

    first = list(releases(basis, Decimal(0), 0, movements[:cut]))
    done = sum(step.amount_minor for step in first)
    second = list(releases(basis, sum(uses[:cut], Decimal(0)), done, movements[cut:]))

    assert all(step.amount_minor >= 0 for step in first + second)
    assert done + sum(step.amount_minor for step in second) == price
