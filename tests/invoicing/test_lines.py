"""Lines: worked examples, then what several invoices of one period sum to."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.money import Money, settle
from invoicing.lines import (
    AmountOutOfBounds,
    Kind,
    OveragePrice,
    UsageShare,
    credits_used_lines,
    fee_line,
    overage_line,
    pack_line,
    total_minor,
)
from invoicing.models import LineKind

CENTS = OveragePrice("credit", Decimal("0.012"), "USD")


def test_the_kinds_are_those_that_are_stored() -> None:
    assert {kind.value for kind in Kind} == set(LineKind.values)


def test_a_fee_is_claimed_once_for_its_period() -> None:
    line = fee_line("Growth", Money(19900, "USD"), Decimal("5000.000000000000"))

    assert line.description == "Growth, 5000 credits included"
    assert (line.quantity, line.unit_price_unrounded, line.amount_minor) == (
        Decimal(1),
        Decimal(199),
        19900,
    )


def test_a_pack_costs_its_price_whatever_its_unit_price_rounds_to() -> None:
    # 100 / 3 = 33.333333333333, three of which would be 99.999999999999.
    line = pack_line("credit", Decimal(3), Money(100, "JPY"))

    assert line.unit_price_unrounded == Decimal("33.333333333333")
    assert line.amount_minor == 100


@pytest.mark.parametrize(
    ("price", "credits_now", "credits_before", "before_minor", "amount_minor"),
    [
        (CENTS, "100", "0", 0, 120),  # 100 x 0.012 = 1.20
        (CENTS, "0.4", "0", 0, 0),  # 0.0048: half a cent is not reached.
        (CENTS, "0.4", "0.4", 0, 1),  # 0.0096 for both: the cent comes with the later one.
        (CENTS, "0.4", "0.8", 1, 0),  # 0.0144 for all three: nothing more yet.
        (OveragePrice("credit", Decimal("1.5"), "JPY"), "3", "0", 0, 5),  # 4.5 rounds up.
        (OveragePrice("credit", Decimal("0.0015"), "KWD"), "3", "0", 0, 5),  # 0.0045 = 4.5 fils.
        (OveragePrice("credit", Decimal(0), "USD"), "3", "0", 0, 0),
    ],
)
def test_overage_is_settled_over_the_whole_period(
    price: OveragePrice, credits_now: str, credits_before: str, before_minor: int, amount_minor: int
) -> None:
    line = overage_line(price, Decimal(credits_now), Decimal(credits_before), before_minor)

    assert line.amount_minor == amount_minor
    assert line.quantity == Decimal(credits_now)


def test_an_amount_beyond_all_reason_is_refused() -> None:
    with pytest.raises(AmountOutOfBounds):
        overage_line(CENTS, Decimal(10) ** 20, Decimal(0), 0)


def test_credits_used_are_stated_most_first_and_claim_nothing() -> None:
    shares = [
        UsageShare("a", "Input tokens", (("model", "small"),), Decimal(5)),
        UsageShare("b", "Output tokens", (("model", "large"), ("region", "eu")), Decimal(7)),
        UsageShare("c", "Requests", (), Decimal(5)),
    ]

    lines = credits_used_lines("credit", shares)

    assert [line.description for line in lines] == [
        "Output tokens, large, eu",
        "Input tokens, small",
        "Requests",
    ]
    assert total_minor(lines) == 0


@settings(max_examples=60, deadline=None)
@given(
    price=st.decimals(0, 10, places=6),
    parts=st.lists(st.decimals("0.000001", 1000, places=6), min_size=1, max_size=8),
    currency=st.sampled_from(["USD", "JPY", "KWD"]),
)
def test_the_invoices_of_a_period_sum_to_all_of_it_settled_once(
    price: Decimal, parts: list[Decimal], currency: str
) -> None:
    terms, before, claimed = OveragePrice("credit", price, currency), Decimal(0), 0

    for part in parts:
        line = overage_line(terms, part, before, claimed)
        assert line.amount_minor >= 0
        before, claimed = before + part, claimed + line.amount_minor

    assert claimed == settle(sum(parts, Decimal(0)) * price, currency)
