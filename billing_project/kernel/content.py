"""Read plain values out of content that a person or a draft wrote: any shape may come.

What enters is JSON; what leaves has its type, or is a fault with its field. Bounds are for whoever
takes the value.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from billing_project.kernel.errors import Invalid
from billing_project.kernel.quantity import NotAQuantity, typed_number

Content = Mapping[str, Any]
_LARGEST = 2**31 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON may have halves of characters; UTF-8 has none.


def refuse_missing(content: Content, *names: str) -> None:
    """Refuse content that leaves out what it has to say; with the first field that lacks."""
    if missing := [name for name in names if name not in content]:
        words = " and ".join(name.replace("_", " ") for name in missing)
        raise Invalid(f"it does not say its {words}", field=missing[0])


def text_in(content: Content, name: str, default: str | None = None) -> str:
    """Return a text."""
    value = content.get(name, default)
    if not is_text(value):
        raise Invalid(f"{name.replace('_', ' ')} is a text", field=name)
    return str(value)


def texts_in(content: Content, name: str) -> list[str]:
    """Return a list of texts; none where nothing is said."""
    values = content.get(name, [])
    if not isinstance(values, list) or not all(is_text(value) for value in values):
        raise Invalid(f"{name.replace('_', ' ')} are a list of texts", field=name)
    return values


def is_text(value: object) -> bool:
    """Tell whether it is a text that the database can keep."""
    return isinstance(value, str) and "\0" not in value and not _SURROGATE.search(value)


def whole_in(content: Content, name: str, default: int) -> int:
    """Return a whole number, 0 or more."""
    value = content.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise Invalid(f"{name.replace('_', ' ')} is a whole number", field=name)
    return value


def minor_in(content: Content, name: str, default: int | None = None) -> int:
    """Return an amount in minor units, which may be more than a small whole number."""
    value = content.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid(f"{name.replace('_', ' ')} is a whole number of minor units", field=name)
    return value


def whole_or_none_in(content: Content, name: str) -> int | None:
    """Return a whole number, None where nothing is said."""
    return None if content.get(name) is None else whole_in(content, name, 0)


def yes_or_no_in(content: Content, name: str, *, default: bool = True) -> bool:
    """Return whether something holds, as by default where nothing is said."""
    value = content.get(name, default)
    if not isinstance(value, bool):
        raise Invalid(f"{name.replace('_', ' ')} is true or false", field=name)
    return value


def decimal_or_none_in(content: Content, name: str) -> Decimal | None:
    """Return an exact number, None where nothing is said."""
    value = content.get(name)
    if value is None:
        return None
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            return typed_number(value) if isinstance(value, str) else Decimal(value)
        except NotAQuantity:
            pass
    raise Invalid(f"{name.replace('_', ' ')} is no decimal number", field=name)
