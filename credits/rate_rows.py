"""Read the rows of rates out of content that a person, a file or a draft wrote: any shape may come.

What enters is JSON; what leaves has the types that a rate has, or a fault with its field. Whether
the values are within their bounds is for `terms`.
"""

from collections.abc import Mapping
from decimal import Decimal

from billing_project.kernel.content import is_text
from billing_project.kernel.quantity import NotAQuantity, typed_number
from credits.terms import MATRIX, BadTerms

_KNOWN = {
    "meter_code", "dimensions", "unit_price", "model", "terms", "included", "minimum", "maximum",
    "pools",
}  # fmt: skip
_NOTHING: Mapping[str, object] = {}


def rows_of(content: object) -> list[Mapping[str, object]]:
    """Return the rows of a content's rates, in order.

    Raises:
        BadTerms: with the row at fault, as "rates[3]".
    """
    rows = content.get("rates") if isinstance(content, Mapping) else None
    if not isinstance(rows, list):
        raise BadTerms("rates", "rates are a list of rows")
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise BadTerms(f"rates[{index}]", "a rate is a row of named values")
        if unknown := sorted(str(name) for name in row.keys() - _KNOWN):
            raise BadTerms(f"rates[{index}].{unknown[0]}", f"known are {sorted(_KNOWN)}")
    return rows


def text_of(path: str, row: Mapping[str, object], name: str, default: str = "") -> str:
    """Return a text of a row, which is not empty."""
    value = row.get(name, default)
    if not is_text(value) or not value:
        raise BadTerms(f"{path}.{name}", f"a rate has its {name.replace('_', ' ')}, a text")
    return str(value)


def dimensions_of(path: str, row: Mapping[str, object]) -> dict[str, str]:
    """Return what values of dimensions a row's rate is for."""
    found = row.get("dimensions", _NOTHING)
    if not isinstance(found, Mapping):
        raise BadTerms(f"{path}.dimensions", "dimensions are values by name")
    for name, value in found.items():
        if not is_text(value):
            raise BadTerms(f"{path}.dimensions.{name}", "a dimension's value is a text")
    return dict(found)


def terms_of(path: str, row: Mapping[str, object]) -> dict[str, object]:
    """Return the terms of a row's pricing model; `tariff_of` reads them."""
    found = row.get("terms", _NOTHING)
    if not isinstance(found, Mapping):
        raise BadTerms(f"{path}.terms", "terms are values by name")
    if MATRIX in found and not is_text(found[MATRIX]):
        raise BadTerms(f"{path}.terms.{MATRIX}", "a matrix's name is a text")
    return dict(found)


def decimal_of(path: str, row: Mapping[str, object], name: str) -> Decimal | None:
    """Return a number of a row, None where it says none; a binary fraction is no exact number."""
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            return typed_number(value) if isinstance(value, str) else Decimal(value)
        except NotAQuantity:
            pass
    raise BadTerms(f"{path}.{name}", f"{name.replace('_', ' ')} is no decimal number")
