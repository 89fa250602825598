"""Versions are compared by what their values are called, not by where they stand."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.backoffice.difference import Difference, differences


def card(*rates: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "rates": [
            {"meter_code": meter, "dimensions": {"model": model}, "unit_price": price}
            for meter, model, price in rates
        ]
    }


def changed(before: object, after: object) -> list[Difference]:
    return [row for row in differences(before, after) if row.is_changed]


def test_a_dearer_rate_is_one_changed_value_with_its_growth() -> None:
    before = card(("output", "large", "0.004"), ("input", "large", "0.0008"))
    after = card(("input", "large", "0.0008"), ("output", "large", "0.005"))

    (row,) = changed(before, after)

    # 0.005 / 0.004 = 1.25
    assert row == Difference("rates / large output / unit_price", "0.004", "0.005")
    assert row.change_percent == "+25.0"


def test_rates_in_another_order_are_no_difference() -> None:
    rates = [("output", "large", "0.004"), ("input", "large", "0.0008"), ("input", "small", "1")]

    assert changed(card(*rates), card(*reversed(rates))) == []


def test_a_new_rate_has_no_before_and_a_dropped_one_no_after() -> None:
    rows = changed(card(("input", "small", "1")), card(("input", "large", "2")))

    assert [(row.path, row.before, row.after) for row in rows] == [
        ("rates / large input / unit_price", None, "2"),
        ("rates / small input / unit_price", "1", None),
    ]


def test_without_an_earlier_version_all_is_new() -> None:
    rows = differences(None, {"fee_minor": 4900, "ends": None, "order": ["priority", "expiry"]})

    assert [(row.path, row.before, row.after) for row in rows] == [
        ("fee_minor", None, "4900"),
        ("ends", None, "none"),
        ("order", None, "priority, expiry"),
    ]


def test_rates_of_the_same_name_are_told_apart() -> None:
    rates = [("input", "small", "1"), ("input", "small", "2")]

    assert [row.after for row in differences(None, card(*rates))] == ["1", "2"]


def test_words_have_no_growth_and_nothing_grows_from_zero() -> None:
    assert Difference("currency", "USD", "EUR").change_percent == ""
    assert Difference("fee", "0", "5").change_percent == ""
    assert Difference("fee", None, "5").change_percent == ""


contents = st.recursive(
    st.none() | st.integers() | st.text(max_size=4) | st.decimals(allow_nan=False).map(str),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=4), contents, max_size=4))
def test_a_content_does_not_differ_from_itself(content: dict[str, Any]) -> None:
    assert changed(content, content) == []


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["in", "out"]), st.sampled_from(["a", "b", "c"])),
        st.decimals(0, 10**6, places=6),
        max_size=6,
    ),
    st.randoms(),
)
def test_order_never_matters(prices: dict[tuple[str, str], Decimal], random: Any) -> None:
    rates = [(meter, model, f"{price:f}") for (meter, model), price in prices.items()]
    shuffled = list(rates)
    random.shuffle(shuffled)

    assert changed(card(*rates), card(*shuffled)) == []
