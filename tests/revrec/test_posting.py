"""The posting rules: each by its accounts and signs; none returns what does not balance."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.errors import Unbalanced
from revrec.posting import (
    About,
    Account,
    CreditedPart,
    Lines,
    PostingLine,
    Settled,
    balance_applied,
    balanced,
    credit_note_issued,
    credits_expired,
    credits_used,
    fee_earned,
    fee_invoiced,
    joined,
    overage_invoiced,
    overage_used,
    pack_invoiced,
    pack_sold_for_cash,
    payment_received,
    refunded,
)

USD = About("USD", obligation_id=7, invoice_line_id=9)


def _signed(lines: Lines) -> dict[str, int]:
    return {line.account.value: line.amount_minor for line in lines}


@pytest.mark.parametrize(
    ("rule", "debit", "credit"),
    [
        (pack_invoiced, "1100", "2100"),
        (pack_sold_for_cash, "1000", "2100"),
        (payment_received, "1000", "1100"),
        (credits_used, "2100", "4010"),
        (credits_expired, "2100", "4030"),
        (overage_used, "1200", "4020"),
        (overage_invoiced, "1100", "1200"),
        (fee_invoiced, "1100", "2120"),
        (fee_earned, "2120", "4000"),
    ],
)
def test_each_rule_debits_and_credits_its_accounts(rule, debit: str, credit: str) -> None:  # type: ignore[no-untyped-def]
    assert _signed(rule(4_900, USD)) == {debit: 4_900, credit: -4_900}


def test_promotional_use_moves_nothing() -> None:
    assert credits_used(0, USD) == ()


def test_a_correction_downward_turns_the_rule_around() -> None:
    assert _signed(overage_used(-700, USD)) == {"1200": -700, "4020": 700}


def test_a_concession_is_taken_off_what_usage_earns() -> None:
    assert _signed(overage_used(700, USD, 200)) == {"1200": 500, "4020": -700, "4900": 200}


def test_an_evened_out_overcharge_comes_off_the_unbilled_receivable() -> None:
    part = CreditedPart(Account.UNBILLED, 300, 700, USD)

    lines = credit_note_issued([part], Settled(0, owed_minor=1_000), About("USD"))

    assert _signed(lines) == {"2200": -1_000, "4900": 300, "1200": 700}


def test_an_unpaid_note_reduces_the_receivable() -> None:
    part = CreditedPart(Account.FEES_LIABILITY, 1_550, 2_950, USD)

    lines = credit_note_issued([part], Settled(4_500), About("USD"))

    assert _signed(lines) == {"1100": -4_500, "4900": 1_550, "2120": 2_950}


def test_a_paid_note_is_owed_back_but_for_what_was_given_back_already() -> None:
    parts = [
        CreditedPart(Account.CREDITS_LIABILITY, 0, 3_000, USD),
        CreditedPart(None, 1_500, 0, USD),
    ]

    lines = credit_note_issued(
        parts, Settled(500, owed_minor=3_000, given_minor=1_000), About("USD")
    )

    assert _signed(lines) == {
        "1100": -500, "2200": -3_000, "1000": -1_000, "2100": 3_000, "4900": 1_500,
    }  # fmt: skip


def test_a_balance_settles_the_receivable_and_a_failed_refund_turns_its_entry_around() -> None:
    assert _signed(balance_applied(700, USD)) == {"2200": 700, "1100": -700}
    assert _signed(refunded(700, USD)) == {"2200": 700, "1000": -700}
    assert _signed(refunded(-700, USD)) == {"2200": -700, "1000": 700}


def test_a_note_whose_parts_do_not_sum_is_refused() -> None:
    part = CreditedPart(Account.FEES_LIABILITY, 1_550, 2_949, USD)

    with pytest.raises(Unbalanced):
        credit_note_issued([part], Settled(4_500), About("USD"))


def test_currencies_never_balance_each_other() -> None:
    eur = replace(USD, currency="EUR")

    with pytest.raises(Unbalanced):
        balanced([PostingLine(Account.CASH, 5, USD), PostingLine(Account.RECEIVABLE, -5, eur)])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(0, 10**12)), max_size=6))
def test_rules_put_together_balance_and_hold_no_zero(amounts: list[tuple[int, int]]) -> None:
    lines = joined(overage_used(used, USD, conceded) for used, conceded in amounts)

    assert sum(line.amount_minor for line in lines) == 0
    assert all(line.amount_minor for line in lines)
