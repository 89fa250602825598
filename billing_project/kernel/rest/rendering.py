"""Write answers as JSON with every digit: the framework's own encoder writes Decimal as a float."""

from collections.abc import Mapping
from typing import Any

import msgspec
from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder

_default = JSONEncoder().default


def _simple(value: object) -> object:
    """Bring what the encoder does not know (marked or lazy text, querysets) to what it does."""
    return value.encode().decode() if isinstance(value, str) else _default(value)


to_json = msgspec.json.Encoder(enc_hook=_simple, decimal_format="number").encode


class ExactJSONRenderer(JSONRenderer):
    """`application/json`; a Decimal that no field made text of is a number with all its digits."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the document, nothing for no data."""
        return b"" if data is None else to_json(data)
