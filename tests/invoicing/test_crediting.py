"""What notes take off lines, and how they settle."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.money import Money
from invoicing.crediting import (
    CreditRefused,
    LineLeft,
    Off,
    PackLeft,
    Paid,
    Settlement,
    SettlementRefused,
    Split,
    credit,
    pack_left,
    part_of,
    pays,
    up_to,
)

ALL_PAID = Paid(10**9, 0)
LINES = [LineLeft(1, 4900, 0), LineLeft(2, 1200, 1000), LineLeft(3, 0, 0)]


def _usd(minor: int) -> Money:
    return Money(minor, "USD")


@pytest.mark.parametrize(
    ("asked", "open_minor", "expected"),
    [
        ([(1, 900)], 5100, Split(900, Settlement())),  # All of it is still owed.
        ([(1, 900)], 0, Split(0, Settlement(balance_minor=900))),  # All of it was paid.
        (
            [(1, 4900), (2, 200)],
            3000,
            Split(3000, Settlement(balance_minor=2100)),
        ),  # 49.00 + 2.00 against 30.00 open.
    ],
)
def test_what_is_open_is_reduced_first(
    asked: list[tuple[int, int]], open_minor: int, expected: Split
) -> None:
    assert credit(LINES, asked, _usd(open_minor), ALL_PAID) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "at least one line"),
        ([(9, 1)], "line 9 is not on the invoice"),
        ([(2, 201)], "line 2 has 2.00 USD left to credit, not 2.01 USD"),
        ([(2, 0)], "line 2 has 2.00 USD left"),
        ([(2, -5)], "line 2 has 2.00 USD left"),
        ([(3, 1)], "line 3 has 0.00 USD left"),
        ([(1, 10), (1, 10)], "named twice"),
    ],
)
def test_more_than_is_left_is_refused_and_the_message_says_how_much_is(
    asked: list[tuple[int, int]], message: str
) -> None:
    with pytest.raises(CreditRefused, match=message):
        credit(LINES, asked, _usd(5100), ALL_PAID)


def test_what_was_paid_goes_back_as_wanted() -> None:
    wanted = Settlement(refund_minor=1000, balance_minor=600, out_of_band_minor=500)

    # 49.00 + 2.00 against 30.00 open: 21.00 go back, of the 15.00 that came in as money 15.00.
    split = credit(LINES, [(1, 4900), (2, 200)], _usd(3000), Paid(1500, 0), wanted)

    assert split == Split(3000, wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Settlement(), "21.00 USD was paid and goes back, but the settlement says 0.00 USD"),
        (Settlement(2101), "21.00 USD was paid and goes back, but the settlement says 21.01 USD"),
        (Settlement(2101, -1), "less than nothing"),
        (Settlement(1000, 600, 500), "14.99 USD of the payments is left .* not 15.00 USD"),
    ],
)
def test_a_settlement_is_all_of_what_was_paid_and_no_more_money_than_came(
    wanted: Settlement, message: str
) -> None:
    with pytest.raises(SettlementRefused, match=message):
        credit(LINES, [(1, 4900), (2, 200)], _usd(3000), Paid(2000, 501), wanted)


@pytest.mark.parametrize(
    ("balance", "still_open", "paid"), [(500, 300, 300), (300, 500, 300), (0, 5, 0), (5, 0, 0)]
)
def test_a_balance_pays_all_that_it_can(balance: int, still_open: int, paid: int) -> None:
    assert pays(balance, still_open) == paid


@settings(max_examples=60, deadline=None)
@given(
    amounts=st.lists(st.integers(1, 10**6), min_size=1, max_size=5),
    paid_share=st.integers(0, 100),
    wishes=st.lists(st.integers(1, 10**6), max_size=8),
)
def test_notes_never_take_more_than_was_claimed_and_return_no_more_than_was_paid(
    amounts: list[int], paid_share: int, wishes: list[int]
) -> None:
    total = sum(amounts)
    paid = total * paid_share // 100
    open_minor, balance, credited = total - paid, 0, [0] * len(amounts)

    for index, wish in enumerate(wishes):
        at = index % len(amounts)
        lines = [LineLeft(i, amounts[i], credited[i]) for i in range(len(amounts))]
        try:
            split = credit(lines, [(at, wish)], _usd(open_minor), ALL_PAID)
        except CreditRefused:
            continue
        assert split.total_minor == wish
        credited[at] += wish
        open_minor, balance = open_minor - split.open_minor, balance + split.back.total_minor

    assert open_minor >= 0
    assert balance <= paid
    assert open_minor == total - paid - (sum(credited) - balance)


def test_a_favour_keeps_a_packs_credits_and_a_cancellation_gives_them_up() -> None:
    sold = PackLeft(Decimal(10_000), 9_000)

    # 90.00 - 10.00 as a favour; half of the 80.00 left is cancelled, and half of the credits.
    steps = pack_left(sold, [Off(1_000, True), Off(4_000, False)])

    assert steps == [sold, PackLeft(Decimal(10_000), 8_000), PackLeft(Decimal(5_000), 4_000)]


@settings(max_examples=60, deadline=None)
@given(
    st.decimals("0.000001", 10**9, places=6),
    st.lists(st.tuples(st.integers(1, 10**6), st.booleans()), max_size=8),
)
def test_what_is_left_of_a_pack_never_costs_more_a_credit(
    credit_count: Decimal, notes: list[tuple[int, bool]]
) -> None:
    price = sum(amount for amount, _ in notes) + 1
    sold = PackLeft(credit_count, price)

    last = pack_left(sold, [Off(*note) for note in notes])[-1]

    assert last.price_minor == 1
    rounding = Decimal("0.000000000001")
    assert credit_count / price - rounding <= last.credits <= credit_count
    if not any(keeps for _, keeps in notes):
        assert abs(last.credits - credit_count / price) <= rounding


def test_a_quantity_or_a_percentage_of_a_line_is_settled_once() -> None:
    # 3 of 7 seats of 100.00: 42.857 -> 42.86. 12.5 % of 0.99: 0.12375 -> 0.12.
    assert part_of(10_000, Decimal(7), of=Decimal(3)) == 4_286
    assert part_of(99, Decimal(1), percent=Decimal("12.5")) == 12
    assert part_of(99, Decimal(7), of=Decimal(7)) == part_of(99, Decimal(7), percent=Decimal(100))
    for wrong in ({"of": Decimal(8)}, {"of": Decimal(0)}, {"percent": Decimal(101)}):
        with pytest.raises(CreditRefused, match="a line has 7 and 100 %"):
            part_of(99, Decimal(7), **wrong)


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 50)), min_size=1, max_size=4),
    st.integers(0, 3 * 10**6),
)
def test_what_is_shortened_fits_with_its_tax_and_wastes_nothing(
    lines: list[tuple[int, int]], most: int
) -> None:
    known = [
        LineLeft(position, net, 0, net * percent // 100)
        for position, (net, percent) in enumerate(lines, start=1)
    ]
    asked = [(line.position, line.left_minor) for line in known]

    kept = dict(up_to(known, asked, most))

    taken = sum(part + known[at - 1].tax_of(part) for at, part in kept.items())
    assert taken <= most
    for line in known:
        part = kept.get(line.position, 0)
        one_more = 1 + line.tax_of(part + 1) - (line.tax_of(part) if part else 0)
        assert part == line.left_minor or taken + one_more > most
