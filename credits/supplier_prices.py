"""Read suppliers' price lists: a JSON text in, prices for each model and token kind out.

Knows the shape of LiteLLM's model price map. Prices are parsed as exact decimals; no Django.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from billing_project.kernel.content import is_text

PRICE_LIMIT = Decimal(10) ** 15
PRICE_DECIMALS = 18
_SUPPLIER = "litellm_provider"


class TokenKind(StrEnum):
    """What suppliers price apart."""

    INPUT = "input"
    CACHED_INPUT = "cached_input"
    CACHE_WRITE = "cache_write"
    OUTPUT = "output"
    BATCH_INPUT = "batch_input"
    BATCH_OUTPUT = "batch_output"


COLUMNS = {
    "input_cost_per_token": TokenKind.INPUT,
    "cache_read_input_token_cost": TokenKind.CACHED_INPUT,
    "cache_creation_input_token_cost": TokenKind.CACHE_WRITE,
    "output_cost_per_token": TokenKind.OUTPUT,
    "input_cost_per_token_batches": TokenKind.BATCH_INPUT,
    "output_cost_per_token_batches": TokenKind.BATCH_OUTPUT,
}


class UnreadablePrices(ValueError):
    """The text is no price list; the message names the model and the column."""


@dataclass(frozen=True)
class SupplierPrice:
    """What a supplier charges for one token."""

    supplier: str
    model: str
    token_kind: TokenKind
    unit_price: Decimal  # Major units of the list's currency, >= 0, at most 18 decimals.


@dataclass(frozen=True)
class PriceList:
    """What a list says, and the models that it prices by something else than tokens."""

    prices: tuple[SupplierPrice, ...]
    left_out: tuple[str, ...]


def token_kind_of(meter_code: str, dimensions: Mapping[str, str]) -> TokenKind | None:
    """Tell which kind of tokens usage is: its `token_kind`, or else its meter's name.

    A meter that is called after its kind ("output_tokens", "output") counts that kind.
    """
    said = dimensions.get("token_kind") or meter_code.removesuffix("_tokens")
    return TokenKind(said) if said in set(TokenKind) else None


def read_price_list(text: str) -> PriceList:
    """Read {"model": {"litellm_provider": ..., "input_cost_per_token": 5e-06, ...}, ...}.

    Raises:
        UnreadablePrices: no such shape, a model twice, or a price out of bounds.
    """
    try:
        rows = json.loads(text, parse_float=Decimal, parse_int=Decimal, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise UnreadablePrices(f"line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise UnreadablePrices("the file is nested too deeply") from error
    if not isinstance(rows, dict) or not rows:
        raise UnreadablePrices("the file holds no models")
    by_model = {model: list(_prices(model, row)) for model, row in rows.items()}
    return PriceList(
        tuple(price for prices in by_model.values() for price in prices),
        tuple(model for model, prices in by_model.items() if not prices),
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadablePrices(f"{twice} stands in the file twice")
    return found


def _prices(model: str, row: Any) -> Iterator[SupplierPrice]:
    if not isinstance(row, dict):
        raise UnreadablePrices(f"{model}: is not an object of prices")
    supplier = row.get(_SUPPLIER)
    if not isinstance(supplier, str) or not supplier.strip():
        raise UnreadablePrices(f"{model}: {_SUPPLIER} is missing")
    if not is_text(model + supplier):
        raise UnreadablePrices(f"{model[:40]!r}: a name holds a character that no text has")
    if not model.strip() or len(model) > 128 or len(supplier) > 64:
        raise UnreadablePrices(f"{model[:40]!r}: the name of a model or supplier is empty or long")
    for column, kind in COLUMNS.items():
        if column in row:
            yield SupplierPrice(supplier, model, kind, _price(row[column], f"{model}: {column}"))


def _price(value: Any, where: str) -> Decimal:
    if not isinstance(value, Decimal):
        raise UnreadablePrices(f"{where} is not a number")
    if not value.is_finite() or not 0 <= value < PRICE_LIMIT:
        raise UnreadablePrices(f"{where} is not between 0 and 10^15")
    if value and int(value.normalize().as_tuple().exponent) < -PRICE_DECIMALS:
        raise UnreadablePrices(f"{where} has more than {PRICE_DECIMALS} decimals")
    return value
