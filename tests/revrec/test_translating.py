"""What entries in a foreign currency are worth: liabilities keep their rate, money does not."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revrec.fx import Carried, Rate
from revrec.posting import (
    About,
    Account,
    CreditedPart,
    Lines,
    PostingLine,
    Settled,
    balanced,
    credit_note_issued,
    credits_used,
    fee_earned,
    fee_invoiced,
    joined,
    overage_invoiced,
    overage_used,
    pack_invoiced,
    pair,
    payment_received,
    tax_charged,
)
from revrec.translating import Holdings, Translated, translate

EUR, PROMISE = About("EUR"), About("EUR", 7)


def _at(value: str) -> Rate:
    return Rate("EUR", "USD", Decimal(value))


def _worth(lines: Lines, holdings: Holdings, rate: str) -> tuple[list[int], int]:
    told = translate(lines, holdings, _at(rate))
    return list(told.book_minor), told.difference_minor


def test_an_invoice_with_tax_is_worth_the_rate_of_its_day_and_balances() -> None:
    lines = joined([fee_invoiced(3_333, PROMISE), tax_charged(633, EUR)])

    # 33.33 and 6.33 at 1.1111 are 37.03 and 7.03; 39.66 is 44.07, and so is what it is owed by.
    amounts, difference = _worth(lines, Holdings(), "1.1111")

    assert (sum(amounts), difference) == (0, 0)
    assert amounts == [3_703, -3_703, 703, -703]


def test_a_fee_is_earned_at_the_rate_of_its_sale_to_the_last_cent() -> None:
    holdings = Holdings()
    _worth(fee_invoiced(1_000, PROMISE), holdings, "1.1111")

    earned = [_worth(fee_earned(minor, PROMISE), holdings, "1.30") for minor in (333, 333, 334)]

    # 11.11 in all, whatever the days' own rate: 370, 370 and the rest.
    assert earned == [([370, -370], 0), ([370, -370], 0), ([371, -371], 0)]
    assert holdings.carried["2120", 7] == Carried(0, 0)


def test_a_payment_at_another_rate_leaves_a_difference() -> None:
    holdings = Holdings()
    _worth(fee_invoiced(10_000, PROMISE), holdings, "1.10")

    half = _worth(payment_received(5_000, EUR), holdings, "1.20")
    rest = _worth(payment_received(5_000, EUR), holdings, "1.00")

    assert half == ([6_000, -5_500], -500)  # A gain of 5.00.
    assert rest == ([5_000, -5_500], 500)
    assert holdings.carried["1100", None] == Carried(0, 0)


def test_what_a_note_takes_off_revenue_goes_at_the_rate_of_the_sale() -> None:
    holdings = Holdings()
    _worth(pack_invoiced(10_000, PROMISE), holdings, "1.10")
    _worth(payment_received(10_000, EUR), holdings, "1.10")
    _worth(credits_used(4_000, PROMISE), holdings, "1.20")
    part = CreditedPart(Account.CREDITS_LIABILITY, 1_000, 2_000, PROMISE)

    told = _worth(credit_note_issued([part], Settled(0, 3_000), EUR), holdings, "1.25")

    # 2200 at 1.25, contra and liability at 1.10: 37.50 - 11.00 - 22.00.
    assert told == ([-3_750, 1_100, 2_200], 450)


def test_overage_is_worth_the_day_of_its_use_and_its_claim_the_day_of_its_invoice() -> None:
    holdings = Holdings()
    used = _worth(overage_used(1_000, PROMISE), holdings, "1.10")
    taken_back = _worth(overage_used(-500, PROMISE), holdings, "1.40")
    claimed = _worth(overage_invoiced(500, PROMISE), holdings, "1.20")

    assert used == ([1_100, -1_100], 0)
    assert taken_back == ([-550, 550], 0)  # As it was earned.
    assert claimed == ([600, -550], -50)


def test_what_changes_its_side_is_new_money_beyond_nothing() -> None:
    holdings = Holdings()
    _worth(pair(Account.CASH, Account.CUSTOMER_BALANCE, 1_000, EUR), holdings, "1.00")

    over = _worth(pair(Account.CUSTOMER_BALANCE, Account.CASH, 1_500, EUR), holdings, "1.20")

    assert over == ([1_600, -1_800], 200)  # 10.00 at 1.00 and 5.00 at 1.20.
    assert holdings.carried["2200", None] == Carried(500, 600)


def test_credits_that_come_back_are_promised_at_their_own_rate() -> None:
    holdings = Holdings()
    _worth(pack_invoiced(10_000, PROMISE), holdings, "1.10")
    _worth(credits_used(10_000, PROMISE), holdings, "1.20")

    back = _worth(credits_used(-2_500, PROMISE), holdings, "1.30")

    assert back == ([-2_750, 2_750], 0)


@pytest.mark.parametrize("is_taker_first", [True, False])
def test_a_promise_hands_on_what_it_stands_at_whatever_the_others_first_rate_was(
    is_taker_first: bool,
) -> None:
    holdings, other, third = (
        Holdings(),
        replace(PROMISE, obligation_id=8),
        replace(PROMISE, obligation_id=9),
    )
    for rate, promise in (("1.10", PROMISE), ("1.20", other), ("1.50", third)):
        _worth(fee_invoiced(1_000, promise), holdings, rate)
    shares = [
        PostingLine(Account.FEES_LIABILITY, -333, PROMISE),
        PostingLine(Account.FEES_LIABILITY, 1_000, other),
        PostingLine(Account.FEES_LIABILITY, -667, third),
    ]
    if not is_taker_first:
        shares.reverse()

    amounts, difference = _worth(balanced(shares), holdings, "1.30")

    # 10.00 at 1.20 go on as 12.00: nothing is gained or lost, on whatever day.
    assert difference == 0
    assert amounts in ([-400, 1_200, -800], [-800, 1_200, -400])
    earned, difference = _worth(fee_earned(1_333, PROMISE), holdings, "0.9")
    assert (earned, difference) == ([1_500, -1_500], 0)


def test_a_promise_that_gives_what_it_earned_already_ends_with_nothing() -> None:
    holdings, other = Holdings(), replace(PROMISE, obligation_id=8)
    for lines, rate in (
        (pack_invoiced(1_000, PROMISE), "1.10"),
        (fee_invoiced(500, other), "1.20"),
        (credits_used(1_000, PROMISE), "1.20"),
        (balanced([
            PostingLine(Account.CREDITS_LIABILITY, 300, PROMISE),
            PostingLine(Account.FEES_LIABILITY, -300, other),
        ]), "1.30"),
        (credits_used(-300, PROMISE), "1.30"),
    ):  # fmt: skip
        assert _worth(lines, holdings, rate)[1] == 0

    assert holdings.carried["2100", 7] == Carried(0, 0)


_amounts = st.integers(1, 10**6)
_rates = st.decimals("0.001", "200", places=4)


@given(price=_amounts, parts=st.lists(_amounts, max_size=6), rates=st.lists(_rates, min_size=9))
def test_entries_balance_and_a_liability_ends_with_nothing(
    price: int, parts: list[int], rates: list[Decimal]
) -> None:
    holdings, left, earned = Holdings(), price, 0
    sold = translate(pack_invoiced(price, PROMISE), holdings, Rate("EUR", "JPY", rates[0]))
    for part, rate in zip([*parts, price], rates[1:], strict=False):
        minor = min(part, left)
        if not minor:
            continue
        left -= minor
        told = translate(credits_used(minor, PROMISE), holdings, Rate("EUR", "JPY", rate))
        assert sum(told.book_minor) + told.difference_minor == 0
        assert told.difference_minor == 0
        earned -= told.book_minor[1]
    if not left:
        assert earned == -sold.book_minor[1]
        assert holdings.carried["2100", 7] == Carried(0, 0)


@pytest.mark.parametrize("amount", [1, -1])
def test_a_line_that_says_what_it_is_worth_stays_so(amount: int) -> None:
    lines = (
        PostingLine(Account.EXPECTED_BREAKAGE, amount * 100, EUR, amount * 111),
        PostingLine(Account.BREAKAGE_REVENUE, -amount * 100, EUR, -amount * 111),
    )
    assert translate(lines, Holdings(), _at("2")) == Translated((amount * 111, -amount * 111), 0)


def test_days_are_not_looked_at() -> None:
    about = About("EUR", 7, None, date(2026, 1, 1), date(2026, 1, 2))
    assert _worth(fee_invoiced(100, about), Holdings(), "2") == ([200, -200], 0)
