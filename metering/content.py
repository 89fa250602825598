"""What makes two reports under one identifier the same: the hash of their content."""

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from metering.aggregation import Value
from metering.events import EventInput, TextEvent
from metering.exact import to_json


def content_sha256(event: EventInput, properties: bytes | None = None) -> bytes:
    """Hash what makes two reports under one identifier the same.

    The customer and identifier are the key, not the content (an alias names the same customer). A
    time that the sender did not give is no content either, so that a retry stays the same. Equal
    numbers are equal content: 1, 1.0 and 1e0, but not "1".

    Args:
        properties: The event's own as `to_json` writes them, if somebody did.
    """
    if properties is None or not (
        isinstance(event, TextEvent) or Decimal not in map(type, event.properties.values())
    ):
        properties = to_json({key: _plain(one) for key, one in event.properties.items()})
    head = _head(event.event_name, event.workspace)
    return hashlib.sha256(b"%b%b,%b]" % (head, to_json(event.timestamp), properties)).digest()


def content_hashes(events: Sequence[EventInput], properties: Sequence[bytes]) -> list[bytes]:
    """Hash a whole batch as `content_sha256` does each event.

    Args:
        properties: Of each event, as `to_json` writes them.
    """
    if set(map(type, events)) != {TextEvent}:
        return list(map(content_sha256, events, properties))
    sha256 = hashlib.sha256
    times = to_json([event.timestamp for event in events])[1:-1].split(b",")
    heads = [_head(event.event_name, event.workspace) for event in events]
    rows = zip(heads, times, properties, strict=True)
    return [sha256(b"%b%b,%b]" % parts).digest() for parts in rows]


@lru_cache(maxsize=1024)
def _head(event_name: str, workspace: str) -> bytes:
    """Write the beginning of a content; few differ."""
    return to_json((event_name, workspace))[:-1] + b","


def _plain(value: Value) -> Value:
    """Bring a number to its one shortest form."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else value.normalize()
