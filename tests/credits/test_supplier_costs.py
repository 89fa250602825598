"""Spans of suppliers' prices: the dearest holds, without gaps; costs of windows are exact."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from credits.supplier_costs import PriceFrom, PriceSpan, spans_of

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def price(supplier: str, amount: str, at: datetime = JANUARY, model: str = "m") -> PriceFrom:
    return PriceFrom(supplier, model, "output", Decimal(amount), at)


def test_the_dearest_supplier_stands_for_all_from_the_instant_on() -> None:
    found = spans_of([price("acme", "5"), price("bolt", "4"), price("bolt", "6", MARCH)])

    assert found == [
        PriceSpan("m", "output", Decimal(5), "acme", JANUARY, MARCH),
        PriceSpan("m", "output", Decimal(6), "bolt", MARCH, None),
    ]


def test_a_price_that_changes_nothing_begins_no_span() -> None:
    found = spans_of([price("acme", "5"), price("bolt", "4", MARCH)])

    assert found == [PriceSpan("m", "output", Decimal(5), "acme", JANUARY, None)]


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 30)),
        unique_by=lambda row: (row[0], row[2]),
    )
)
def test_spans_follow_one_another_and_say_the_dearest(rows: list[tuple[str, int, int]]) -> None:
    prices = [price(who, str(amount), JANUARY + timedelta(days=day)) for who, amount, day in rows]
    found = spans_of(prices)

    for before, after in pairwise(found):
        assert before.end == after.start
    for day in range(31):
        at = JANUARY + timedelta(days=day)
        newest = {
            who: max((d, a) for w, a, d in rows if w == who and d <= day)[1]
            for who in {w for w, _, d in rows if d <= day}
        }
        holding = [s for s in found if s.start <= at and (s.end is None or at < s.end)]
        assert [s.unit_price for s in holding] == ([max(newest.values())] if newest else [])
