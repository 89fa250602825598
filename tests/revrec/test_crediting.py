"""Credit notes over past and future: worked examples, then what holds for every note."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.money import prorate
from revrec.crediting import CreditSplit, Promise, Reason, split_credit


def _promise(price: int, done: int, whole: int) -> Promise:
    recognised = prorate(price, Decimal(done), Decimal(whole))
    return Promise(price, recognised, Decimal(done), Decimal(whole))


def test_cancelling_the_future_takes_the_liability_first() -> None:
    promise = _promise(9_000, 31, 90)  # 31.00 earned, 59.00 still owed.

    within = split_credit(promise, 4_500, Reason.CANCEL_FUTURE)
    beyond = split_credit(promise, 6_000, Reason.CANCEL_FUTURE)

    assert within == CreditSplit(contra_minor=0, liability_minor=4_500)
    assert beyond == CreditSplit(contra_minor=100, liability_minor=5_900)


@pytest.mark.parametrize("reason", list(Reason))
def test_a_note_on_a_finished_promise_is_all_contra_revenue(reason: Reason) -> None:
    split = split_credit(_promise(9_000, 90, 90), 4_000, reason)

    assert split == CreditSplit(contra_minor=4_000, liability_minor=0)


def test_after_a_cancelled_future_the_money_earned_measures_progress() -> None:
    # 100.00, half done; 50.00 of the future cancelled: 50.00 is left and all of it is earned.
    cancelled = Promise(5_000, 5_000, Decimal(15), Decimal(30))

    split = split_credit(cancelled, 1_000, Reason.GOODWILL)

    assert split == CreditSplit(contra_minor=1_000, liability_minor=0)


_promises = st.integers(1, 10**9).flatmap(
    lambda price: st.tuples(
        st.just(price), st.integers(0, price), st.integers(0, 31), st.integers(1, price)
    )
)


@settings(max_examples=80, deadline=None)
@given(_promises, st.sampled_from(Reason), st.booleans())
def test_the_parts_sum_and_both_sides_reach(
    numbers: tuple[int, int, int, int], reason: Reason, is_on_plan: bool
) -> None:
    price, recognised, done, amount = numbers
    promise = (
        _promise(price, done, 31)
        if is_on_plan
        else Promise(price, recognised, Decimal(done), Decimal(31))
    )

    split = split_credit(promise, amount, reason)

    assert split.contra_minor + split.liability_minor == amount
    assert 0 <= split.contra_minor <= promise.recognised_minor
    assert 0 <= split.liability_minor <= promise.price_minor - promise.recognised_minor
