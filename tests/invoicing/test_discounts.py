"""What discounts take off lines."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.discounts import Offer, discounted
from invoicing.lines import Kind, Line

FEES = ("recurring", "seat", "one_off")


def _line(minor: int, kind: Kind = Kind.RECURRING) -> Line:
    return Line(kind, "Fee", Decimal(1), "", Decimal(minor) / 100, minor, str(minor))


def _percent(percent: str, *kinds: str) -> Offer:
    return Offer("LAUNCH", Decimal(percent), 0, kinds or FEES)


def _amount(minor: int) -> Offer:
    return Offer("WELCOME", None, minor, FEES)


@pytest.mark.parametrize(
    ("lines", "offer", "left"),
    [
        ([10_000], _percent("20"), [8_000]),
        ([333, 333, 334], _percent("10"), [300, 300, 300]),  # 100 of 1000, by largest remainder
        ([100, 100, 100], _percent("0.5"), [99, 99, 100]),  # 1.5 rounds to 2, once.
        ([4_900, 100], _amount(1_000), [3_920, 80]),  # 980 and 20
        ([300, 200], _amount(1_000), [0, 0]),  # No further than the lines reach.
        ([0], _amount(1_000), [0]),
        ([4_900], _percent("100"), [0]),
    ],
)
def test_offers_are_shared_by_largest_remainder(
    lines: list[int], offer: Offer, left: list[int]
) -> None:
    found = discounted([_line(minor) for minor in lines], [offer], "USD")

    assert [line.amount_minor for line in found] == left


def test_lines_of_other_kinds_stay() -> None:
    overage = _line(5_000, Kind.OVERAGE)

    assert discounted([overage, _line(1_000)], [_percent("50")], "USD")[0] == overage
    only_seats = discounted([_line(1_000), _line(800, Kind.SEAT)], [_percent("50", "seat")], "USD")
    assert [line.amount_minor for line in only_seats] == [1_000, 400]


def test_a_line_says_what_came_off_it() -> None:
    (line,) = discounted([_line(10_000)], [_percent("20"), _amount(500)], "USD")

    assert line.description == "Fee; LAUNCH 20% -20.00; WELCOME -5.00"
    assert (line.amount_minor, line.discount_minor) == (7_500, 2_500)
    assert [part.amount_minor for part in line.discounts] == [2_000, 500]


OFFERS = st.lists(
    st.one_of(
        st.builds(_amount, st.integers(1, 10**6)),
        st.integers(1, 100_000).map(lambda n: _percent(f"{Decimal(n) / 1000}")),
    ),
    max_size=4,
)


@given(minors=st.lists(st.integers(0, 10**6), min_size=1, max_size=6), offers=OFFERS)
def test_nothing_is_lost_and_nothing_goes_below_zero(
    minors: list[int], offers: list[Offer]
) -> None:
    found = discounted([_line(minor) for minor in minors], offers, "USD")

    assert all(line.amount_minor >= 0 for line in found)
    assert [line.amount_minor + line.discount_minor for line in found] == minors
    whole = sum(minors)
    for offer in offers:  # Each offer is rounded once over all lines.
        off = (
            min(offer.amount_minor, whole)
            if offer.percent is None
            else int((whole * offer.percent / 100).quantize(Decimal(1), "ROUND_HALF_UP"))
        )
        whole -= off
    assert sum(line.amount_minor for line in found) == whole
