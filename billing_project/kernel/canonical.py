"""One text for one content: what hashes and idempotency compare."""

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal


def canonical_json(content: object) -> str:
    """Write content with sorted keys, no white space, decimals as plain strings, times in UTC."""
    return json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
    )


def sha256_hex(text: str) -> str:
    """Return the sha256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"{type(value).__name__} has no canonical form")
