"""What a meter may be told to read: bounds of names, filters, values and rounding."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Required, TypedDict, Unpack

from billing_project.kernel.errors import Invalid
from billing_project.kernel.quantity import NotAQuantity, parse_quantity
from metering.aggregation import Operator, text_of
from metering.models import Aggregation
from metering.rounding import MAX_DECIMALS, RoundingMode

_CODE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)
_EVENT_NAME = re.compile(r"[ -~]{1,100}", re.ASCII)
_MAX_DIMENSIONS, _MAX_FILTERS, _MAX_AMONG = 10, 10, 100
_UNROUNDED = {Aggregation.COUNT, Aggregation.UNIQUE}


class ReadingInput(TypedDict, total=False):
    """How events shall be read, as a caller says it."""

    event_name: Required[str]
    value_property: str  # What an event counts: this property of it,
    constant_value: Decimal | None  # or always the same. Count takes neither, unique a property.
    filters: Sequence[Mapping[str, Any]]  # {"property", "operator", "value"}; all must pass.
    dimensions: Sequence[str]  # Properties whose text splits the quantity.
    # Of each event's value; of each window's quantity for a time-weighted sum.
    rounding_mode: str
    rounding_decimals: int


class Reading(TypedDict):
    """How events are read, as a version stores it."""

    event_name: str
    value_property: str
    constant_value: Decimal | None
    filters: list[dict[str, Any]]
    dimensions: list[str]
    rounding_mode: str
    rounding_decimals: int


def refuse_bad_meter(code: str, fixed: Mapping[str, str]) -> None:
    """Refuse a code, name, unit or aggregation that cannot be.

    Raises:
        Invalid: with what would be right.
    """
    if not _CODE.fullmatch(code):
        raise Invalid(
            "code is 1 to 64 of a-z 0-9 _ . - and starts with a letter or digit", field="code"
        )
    if fixed["aggregation"] not in Aggregation.values:
        raise Invalid(f"aggregation is one of {', '.join(Aggregation.values)}", field="aggregation")
    _check_text("name", fixed["name"], 200, field="name")
    _check_text("unit", fixed["unit"], 40, field="unit")


def checked_reading(aggregation: str, **said: Unpack[ReadingInput]) -> Reading:
    """Bring a reading to the form that is stored.

    Raises:
        Invalid: no event could be read so.
    """
    event_name, value_property = said["event_name"], said.get("value_property", "")
    filters = said.get("filters", ())
    reading = Reading(
        event_name=event_name,
        value_property=value_property,
        constant_value=_checked_constant(said.get("constant_value")),
        filters=[_checked_filter(one) for one in filters],
        dimensions=sorted(set(said.get("dimensions", ()))),
        rounding_mode=str(said.get("rounding_mode", RoundingMode.HALF_EVEN)),
        rounding_decimals=said.get("rounding_decimals", MAX_DECIMALS),
    )
    if not _EVENT_NAME.fullmatch(event_name):
        raise Invalid("event_name is 1 to 100 printable ASCII characters", field="event_name")
    if len(reading["dimensions"]) > _MAX_DIMENSIONS:
        raise Invalid(f"at most {_MAX_DIMENSIONS} dimensions", field="dimensions")
    if len(filters) > _MAX_FILTERS:
        raise Invalid(f"at most {_MAX_FILTERS} filters", field="filters")
    for name in reading["dimensions"]:
        _check_text("a property's name", name, 100, field="dimensions")
    if value_property:
        _check_text("a property's name", value_property, 100, field="value_property")
    _refuse_bad_value(aggregation, reading)
    _refuse_bad_rounding(aggregation, reading)
    return reading


def _refuse_bad_value(aggregation: str, reading: Reading) -> None:
    has_property = bool(reading["value_property"])
    has_constant = reading["constant_value"] is not None
    if aggregation == Aggregation.COUNT:
        is_good = not has_property and not has_constant
    elif aggregation == Aggregation.UNIQUE:
        is_good = has_property and not has_constant
    else:
        is_good = has_property != has_constant
    if not is_good:
        raise Invalid(
            "count reads no value, unique a value_property;"
            " the others a value_property or a constant_value",
            field="constant_value"
            if has_constant and aggregation in _UNROUNDED
            else "value_property",
        )


def _refuse_bad_rounding(aggregation: str, reading: Reading) -> None:
    if reading["rounding_mode"] not in set(RoundingMode):
        raise Invalid(f"rounding is {', '.join(RoundingMode)}", field="rounding_mode")
    if not 0 <= reading["rounding_decimals"] <= MAX_DECIMALS:
        raise Invalid(f"rounding keeps 0 to {MAX_DECIMALS} decimals", field="rounding_decimals")
    if aggregation in _UNROUNDED and reading["rounding_decimals"] != MAX_DECIMALS:
        raise Invalid("count and unique have nothing to round", field="rounding_decimals")


def _checked_constant(value: Decimal | None) -> Decimal | None:
    try:
        return None if value is None else parse_quantity(value)
    except NotAQuantity as error:
        raise Invalid(f"constant_value {error}", field="constant_value") from error


def _checked_filter(one: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a filter to the form that is stored: values as text."""
    said = one.get("operator") if isinstance(one, Mapping) else None
    if said not in tuple(Operator):
        raise Invalid(
            f"a filter has a property and an operator: {', '.join(Operator)}", field="filters"
        )
    operator = Operator(said)
    fields = {"property", "operator", "value"} if operator.takes_value else {"property", "operator"}
    if set(one) != fields:
        raise Invalid(
            f"a filter with {operator} is {{{', '.join(sorted(fields))}}}", field="filters"
        )
    _check_text("a filter's property", one["property"], 100, field="filters")
    checked = {"property": one["property"], "operator": str(operator)}
    if not operator.takes_value:
        return checked
    return {**checked, "value": _checked_values(operator, one["value"])}


def _checked_values(operator: Operator, value: Any) -> str | list[str]:
    is_list = operator == Operator.IN
    values = value if is_list else [value]
    if not isinstance(values, list | tuple) or not 1 <= len(values) <= _MAX_AMONG:
        raise Invalid(
            f"a filter's operator in takes a list of 1 to {_MAX_AMONG} values", field="filters"
        )
    texts = [_value_text(one) for one in values]
    return texts if is_list else texts[0]


def _value_text(value: object) -> str:
    if not isinstance(value, str | int | bool):
        raise Invalid("a filter's value is text, a whole number or a boolean", field="filters")
    text = text_of(value)
    if len(text) > 1000 or "\x00" in text:
        raise Invalid("a filter's value has at most 1,000 characters", field="filters")
    return text


def _check_text(what: str, text: object, limit: int, *, field: str) -> None:
    if not isinstance(text, str) or not text.strip() or len(text) > limit or "\x00" in text:
        raise Invalid(f"{what} has 1 to {limit} characters", field=field)
