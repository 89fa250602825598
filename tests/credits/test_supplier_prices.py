"""Reading a supplier's price list: exact prices, or the model and column that is wrong."""

from decimal import Decimal

import pytest

from credits.supplier_prices import (
    SupplierPrice,
    TokenKind,
    UnreadablePrices,
    read_price_list,
    token_kind_of,
)


def test_each_priced_column_is_one_exact_price() -> None:
    text = """{"small": {"litellm_provider": "acme", "mode": "chat",
      "input_cost_per_token": 5e-06, "cache_read_input_token_cost": 5e-07,
      "cache_creation_input_token_cost": 6.25e-06, "output_cost_per_token": 0.000025}}"""

    found = read_price_list(text)

    assert found.left_out == ()
    assert found.prices == (
        SupplierPrice("acme", "small", TokenKind.INPUT, Decimal("0.000005")),
        SupplierPrice("acme", "small", TokenKind.CACHED_INPUT, Decimal("0.0000005")),
        SupplierPrice("acme", "small", TokenKind.CACHE_WRITE, Decimal("0.00000625")),
        SupplierPrice("acme", "small", TokenKind.OUTPUT, Decimal("0.000025")),
    )


def test_a_model_that_is_not_priced_by_the_token_is_named() -> None:
    text = """{"ear": {"litellm_provider": "acme", "input_cost_per_second": 0.0001},
      "small": {"litellm_provider": "acme", "input_cost_per_token": 0}}"""

    found = read_price_list(text)

    assert found.left_out == ("ear",)
    assert [price.unit_price for price in found.prices] == [Decimal(0)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1"),
        ("[]", "holds no models"),
        ("{}", "holds no models"),
        ('{"m": 1}', "m: is not an object"),
        ('{"m": {"input_cost_per_token": 1}}', "m: litellm_provider is missing"),
        ('{"m": {"litellm_provider": "a", "input_cost_per_token": "1"}}', "is not a number"),
        ('{"m": {"litellm_provider": "a", "input_cost_per_token": true}}', "is not a number"),
        ('{"m": {"litellm_provider": "a", "input_cost_per_token": NaN}}', "is not a number"),
        ('{"m": {"litellm_provider": "a", "output_cost_per_token": -1}}', "output_cost_per_token"),
        ('{"m": {"litellm_provider": "a", "output_cost_per_token": 1e15}}', "between 0 and 10^15"),
        ('{"m": {"litellm_provider": "a", "input_cost_per_token": 1e-19}}', "18 decimals"),
        ('{"m": {"litellm_provider": "a"}, "m": {"litellm_provider": "a"}}', "m stands"),
        ('{"": {"litellm_provider": "a"}}', "empty or long"),
        ('{"a\\u0000": {"litellm_provider": "a"}}', "no text has"),
        ('{"a\\ud800": {"litellm_provider": "a"}}', "no text has"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_price_list_says_where(text: str, words: str) -> None:
    with pytest.raises(UnreadablePrices, match=words.replace("^", r"\^")):
        read_price_list(text)


@pytest.mark.parametrize(
    ("meter", "dimensions", "kind"),
    [
        ("input_tokens", {}, TokenKind.INPUT),
        ("cached_input_tokens", {"model": "small"}, TokenKind.CACHED_INPUT),
        ("output", {}, TokenKind.OUTPUT),
        ("tokens", {"token_kind": "cache_write"}, TokenKind.CACHE_WRITE),
        ("tokens", {}, None),
        ("seats", {}, None),
    ],
)
def test_usage_says_its_kind_of_tokens(
    meter: str, dimensions: dict[str, str], kind: TokenKind | None
) -> None:
    assert token_kind_of(meter, dimensions) is kind
