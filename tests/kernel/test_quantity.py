"""What a sender may write as a quantity, and what it becomes."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.quantity import NotAQuantity, how_many, parse_quantity, plain


@pytest.mark.parametrize(
    ("sent", "quantity"),
    [
        ("1200", "1200"),
        ("0.000000000001", "0.000000000001"),
        (7, "7"),
        (Decimal("1.10"), "1.10"),
        (Decimal("1.5E+3"), "1500"),
        ("-0", "0"),
        ("999999999999999999999999.999999999999", "999999999999999999999999.999999999999"),
    ],
)
def test_a_number_is_kept_exactly(sent: object, quantity: str) -> None:
    assert parse_quantity(sent) == Decimal(quantity)


@pytest.mark.parametrize(
    "sent",
    [
        "NaN", "Infinity", "1e400", "-1", "1" * 60, "", " 1", "1 ", "0x10", "1_000",
        "\u0661\u0662", "\uff11\uff12",
        "01", ".5", "5.", "+1", "0.0000000000001", True, None, [], {}, Decimal("1E+400"),
        Decimal("NaN"), Decimal("-0.1"), 10**24,
    ],
)  # fmt: skip
def test_what_is_no_quantity_is_refused(sent: object) -> None:
    with pytest.raises(NotAQuantity):
        parse_quantity(sent)


@given(st.decimals(0, 10**23, places=12))
@settings(max_examples=200, deadline=None)
def test_what_was_sent_is_what_is_stored_and_shown(sent: Decimal) -> None:
    assert parse_quantity(f"{sent:f}") == sent
    assert Decimal(plain(sent)) == sent
    assert "E" not in plain(sent)


def test_only_one_is_in_the_singular() -> None:
    said = [how_many(count, "line") for count in (0, 1, 2, 20_000)]

    assert said == ["0 lines", "1 line", "2 lines", "20,000 lines"]
