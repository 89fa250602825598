"""Read and write JSON without a float in between: 1.50 stays 1.50, 0.1 stays 0.1."""

import json
from decimal import Decimal
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")


class ExactDecoder(json.JSONDecoder):
    """Django's JSON fields read numbers with a point through this, as Decimal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "parse_float": Decimal})


to_json = _encoder.encode  # Content with sorted keys; a Decimal is a number with all its digits.


def write_json(content: object) -> str:
    """Write content as `to_json` does, as text."""
    return to_json(content).decode()
