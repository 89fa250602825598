"""What an event may carry: flat, bounded, storable properties."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from metering.aggregation import Value

MAX_PROPERTIES = 64
MAX_KEY = 100
MAX_TEXT = 1000
_MAX_MAGNITUDE = 24  # As kernel.quantity.LIMIT: every number below 10^24 ...
_MAX_DIGITS = 40  # ... and no finer than anybody measures.


def check_properties(properties: Mapping[str, Any]) -> dict[str, Value]:
    """Return flat, bounded, storable properties.

    Raises:
        BadValue: too many, nested, too long, out of bounds; the path names the property.
    """
    if len(properties) > MAX_PROPERTIES:
        raise BadValue(f"has more than {MAX_PROPERTIES} properties", "$.properties")
    checked = dict(properties)
    for key, value in properties.items():
        if not 0 < len(key) <= MAX_KEY:
            raise BadValue(f"a property's name has 1 to {MAX_KEY} characters", "$.properties")
        if type(value) is not str:
            checked[key] = _checked(key, value)
        elif len(value) > MAX_TEXT:
            raise BadValue(f"is longer than {MAX_TEXT} characters", f"$.properties.{key}")
    return checked


class BadValue(ValueError):
    """A property that cannot be stored."""

    def __init__(self, detail: str, path: str) -> None:
        super().__init__(detail)
        self.detail, self.path = detail, path


def _checked(key: str, value: object) -> Value:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, int | Decimal):
        return _bounded(key, value)
    raise BadValue("is neither text, number nor boolean", f"$.properties.{key}")


def _bounded(key: str, number: int | Decimal) -> int | Decimal:
    path = f"$.properties.{key}"
    if isinstance(number, int):
        if not -(10**_MAX_MAGNITUDE) < number < 10**_MAX_MAGNITUDE:
            raise BadValue(f"is 10^{_MAX_MAGNITUDE} or more", path)
        return number
    if not number.is_finite():
        raise BadValue("is not a finite number", path)
    if not number:
        return 0  # 0.00, -0.0 and 0e9 are one number.
    if number.adjusted() >= _MAX_MAGNITUDE:
        raise BadValue(f"is 10^{_MAX_MAGNITUDE} or more", path)
    digits, decimals = len(number.as_tuple().digits), -int(number.as_tuple().exponent)
    if digits > _MAX_DIGITS or decimals > _MAX_DIGITS:
        raise BadValue(f"has more than {_MAX_DIGITS} digits", path)
    return number
