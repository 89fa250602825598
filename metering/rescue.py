"""Save a batch from one item that its sender could not write as JSON.

Common libraries write NaN, Infinity and halves of a surrogate pair (a text cut inside an emoji),
which strict readers refuse together with everything around. Each becomes a value or a name that no
event may have, so that it costs its own item and not the batch.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from metering.exact import write_json

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL's text takes neither.
_MAX_DIGITS = 100  # Of a whole number; any that counts has fewer.
_REFUSED: list[object] = []  # As a value: neither text, number nor boolean.
_NAMELESS = ""  # As a key: no field and no property is called so.


def rewrite(body: bytes) -> bytes | None:
    """Return the body as strict JSON, or None if it is broken in any other way."""
    spoiled: list[str] = []

    def refuse(text: str) -> list[object]:
        spoiled.append(text)
        return _REFUSED

    def decimal(text: str) -> Decimal | list[object]:
        try:
            number = Decimal(text)
        except InvalidOperation:  # Its exponent is beyond everything.
            return refuse(text)
        return number if number.is_finite() else refuse(text)

    def integer(text: str) -> int | list[object]:
        return int(text) if len(text) <= _MAX_DIGITS else refuse(text)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in items:
            is_usable = key not in content and not UNSTORABLE.search(key)
            name = key if is_usable else _NAMELESS
            is_text = isinstance(value, str) and UNSTORABLE.search(value)
            content[name] = refuse(name) if is_text or not is_usable else value
        return content

    try:
        content = json.loads(
            body,
            parse_constant=refuse,
            parse_float=decimal,
            parse_int=integer,
            object_pairs_hook=pairs,
        )
        return write_json(content).encode() if spoiled else None
    except ValueError:  # No JSON either way; a surrogate in an array.
        return None
