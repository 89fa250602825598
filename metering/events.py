"""Events as they come in: bytes in, typed events and refusals out, judged one by one.

A body that cannot be read at all is refused whole; inside a batch one bad item costs only itself.
Meters, customers and the clock play no part here (see `judging`).
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from billing_project.kernel.errors import BillingError, Invalid
from metering.aggregation import Value
from metering.properties import (
    MAX_KEY,
    MAX_PROPERTIES,
    MAX_TEXT,
    BadValue,
    check_properties,
)
from metering.rescue import UNSTORABLE, rewrite

MAX_EVENTS = 1000

_Name = Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,100}\Z")]
_Identifier = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:/-]{1,128}\Z")]
_Customer = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:/@+-]{1,128}\Z")]
_Workspace = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:/@+-]{0,128}\Z")]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Texts = Annotated[
    dict[
        Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY)],
        Annotated[str, msgspec.Meta(max_length=MAX_TEXT)],
    ],
    msgspec.Meta(max_length=MAX_PROPERTIES),
]
_PATTERNS = {  # What the four patterns above say, in words.
    "$.event_name": "is 1 to 100 printable ASCII characters",
    "$.identifier": "is 1 to 128 of A-Z a-z 0-9 . _ : / -",
    "$.customer": "is 1 to 128 of A-Z a-z 0-9 . _ : / @ + -",
    "$.workspace": "is at most 128 of A-Z a-z 0-9 . _ : / @ + -",
}
_NO_INSTANT = "must be an RFC 3339 instant with its offset (2026-11-20T10:15:30Z)"


class MalformedBody(BillingError):
    """The body is no JSON, too deep, or neither an event nor a batch."""

    code = "malformed_body"
    status_code = 400


class EventInput(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One report of use with the sender's own names; timestamp None means: when it arrives."""

    event_name: str
    identifier: str
    customer: str
    workspace: str = ""
    timestamp: datetime | None = None  # UTC.
    properties: Mapping[str, Value] = {}


_ABSENT: dict[str, str] = {}  # The properties of an event that sent none; never written to.


class TextEvent(EventInput, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """The usual report, as decoded in one step: its properties are text.

    Its names are checked for a whole batch at once: a pattern for each costs more than all else.
    """

    timestamp: _Instant | None = None
    properties: _Texts = msgspec.field(default_factory=lambda: _ABSENT)


@dataclass(frozen=True)
class BadItem:
    """An item that no event can be made of; `identifier` as far as it could be read."""

    detail: str
    path: str = "$"
    identifier: str = ""
    code: str = "invalid_value"


@dataclass(frozen=True)
class Body:
    """What one request carried, in its order."""

    items: tuple[EventInput | BadItem, ...]
    is_batch: bool


class _Wire(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    event_name: _Name
    identifier: _Identifier
    customer: _Customer
    workspace: _Workspace | UnsetType | None = UNSET
    timestamp: _Instant | UnsetType | None = UNSET
    properties: dict[str, Any] | UnsetType | None = UNSET


class _Events(msgspec.Struct, forbid_unknown_fields=True):
    events: list[_Wire]


class _Texting(msgspec.Struct, forbid_unknown_fields=True):
    events: list[TextEvent]


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


class _Label(msgspec.Struct):
    identifier: str = ""


_NAMES = re.compile(r"(?:[ -~]{1,100}\n)+")
_IDENTIFIERS = re.compile(r"(?:[A-Za-z0-9._:/-]{1,128}\n)+")
_CUSTOMERS = re.compile(r"(?:[A-Za-z0-9._:/@+-]{1,128}\n)+")
_WORKSPACES = re.compile(r"(?:[A-Za-z0-9._:/@+-]{0,128}\n)+")
_decode_texts = msgspec.json.Decoder(_Texting).decode
_decode_events = msgspec.json.Decoder(_Events, float_hook=Decimal).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_wire = msgspec.json.Decoder(_Wire, float_hook=Decimal).decode
_decode_label = msgspec.json.Decoder(_Label).decode
# NUL and lone surrogates can only be written as escapes (so can whole pairs, which are fine).
_SUSPECT_ESCAPE = re.compile(rb"\\u(0000|[dD][89a-fA-F])")
_BATCH_STRINGS = 1  # "events".
_EVENT_STRINGS = 6  # event_name, identifier and customer, with their values.
_TEXT_EVENT_STRINGS = _EVENT_STRINGS + 3  # With timestamp, its value, and properties.


def decode_body(body: bytes) -> Body:
    """Read a single event or `{"events": [...]}`.

    Raises:
        MalformedBody: not JSON, nested too deep, not an object.
        Invalid: a batch of none or of more than 1,000.
    """
    if not body:
        raise MalformedBody("the body is empty; it is one event, or {events: [...]}")
    try:
        return _split(body)
    except RecursionError as error:
        raise MalformedBody("the body is nested too deep", code="too_deep") from error
    except UnicodeDecodeError as error:
        raise MalformedBody("the body is not UTF-8") from error


def decode_event(raw: bytes) -> EventInput | BadItem:
    """Read one item; what is wrong with it is in the answer, never raised."""
    try:
        return _judged(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return BadItem("is not readable as an event", identifier=_label(raw))


def fault_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return what a decoder found wrong as (detail, path).

    It quotes names as they were sent: what nobody could store is taken out.
    """
    detail, _, path = UNSTORABLE.sub("", str(error)).partition(" - at `")
    return detail, path.rstrip("`") or "$"


def _split(body: bytes) -> Body:
    events = _read_at_once(body)
    if events is not None:
        return Body(events, is_batch=True)
    try:
        raws = _decode_envelope(body).events
    except msgspec.ValidationError as error:
        if not body.lstrip(b" \t\r\n").startswith(b"{"):
            raise MalformedBody("the body is an object: one event, or {events: [...]}") from error
        if "`$.events`" in str(error):
            raise Invalid("events is an array of 1 to 1,000 events") from error
        return Body((_single(body),), is_batch=False)
    except msgspec.DecodeError as error:
        return _split(_rewritten(body, error))
    if not 1 <= len(raws) <= MAX_EVENTS:
        raise Invalid(f"a batch has 1 to {MAX_EVENTS} events, not {len(raws)}")
    _refuse_repeated_envelope(body, raws)
    return Body(tuple(decode_event(bytes(raw)) for raw in raws), is_batch=True)


def _read_at_once(body: bytes) -> tuple[EventInput, ...] | None:
    """Read a batch of nothing but good events in one pass, or return None for a closer look."""
    if _SUSPECT_ESCAPE.search(body):
        return None
    strings_sent = _strings_in(body)
    events = _texts_at_once(body, strings_sent)
    if events is not None:
        return events
    try:
        wires = _decode_events(body).events
        strings = _BATCH_STRINGS + sum(map(_string_count, wires))
        if not 1 <= len(wires) <= MAX_EVENTS or strings != strings_sent:
            return None
        return tuple(map(_event_of, wires))
    except (msgspec.DecodeError, BadValue, InvalidOperation):
        return None


def _texts_at_once(body: bytes, strings_sent: int) -> tuple[EventInput, ...] | None:
    """Read a batch of the usual events; whatever else it is, None.

    Its strings are counted as `_string_count` does, and never one too many.
    """
    try:
        events = _decode_texts(body).events
    except msgspec.DecodeError:
        return None
    strings = _BATCH_STRINGS
    for event in events:
        strings += 2 * len(event.properties) + _TEXT_EVENT_STRINGS
        if event.properties is _ABSENT:
            strings -= 1  # One too many would hide a string that the decoder dropped.
        if event.timestamp is None:
            strings -= 2
        elif event.timestamp.tzinfo is not UTC:
            return None
        if event.workspace:
            strings += 2
    if not 1 <= len(events) <= MAX_EVENTS or strings != strings_sent or not _are_named(events):
        return None  # Or a null, an empty workspace: a closer look tells.
    return tuple(events)


def _are_named(events: Sequence[EventInput]) -> bool:
    """Tell whether all names are what the patterns of single events ask for."""
    return (
        _match_all({event.event_name for event in events}, _NAMES)
        and _match_all([event.identifier for event in events], _IDENTIFIERS)
        and _match_all({event.customer for event in events}, _CUSTOMERS)
        and _match_all({event.workspace for event in events}, _WORKSPACES)
    )


def _match_all(texts: Collection[str], pattern: re.Pattern[str]) -> bool:
    """Match each text and its line end; a text with a line of its own has one end too many."""
    lines = "\n".join((*texts, ""))
    return lines.count("\n") == len(texts) and pattern.fullmatch(lines) is not None


def _single(body: bytes) -> EventInput | BadItem:
    """Read a body that is one event: what is no JSON refuses the request, not the event."""
    try:
        return _judged(body)
    except msgspec.DecodeError as error:
        return _judged(_rewritten(body, error))


def _judged(raw: bytes) -> EventInput | BadItem:
    try:
        return _typed(raw)
    except BadValue as error:
        return BadItem(error.detail, error.path, _label(raw))
    except msgspec.ValidationError as error:
        detail, path = fault_of(error)
        return BadItem(_in_words(detail, path), path, _label(raw))
    except InvalidOperation:
        return BadItem("has a number that is out of bounds", "$.properties", _label(raw))


def _in_words(detail: str, path: str) -> str:
    if path == "$.timestamp":
        return _NO_INSTANT
    return _PATTERNS.get(path, detail) if "matching regex" in detail else detail


def _typed(raw: bytes) -> EventInput:
    wire = _decode_wire(raw)
    if _SUSPECT_ESCAPE.search(raw):
        refuse_unstorable(wire.properties or {})
    event = _event_of(wire)
    if _string_count(wire) != _strings_in(raw):
        raise BadValue("a key comes twice", "$")
    return event


def _event_of(wire: _Wire) -> EventInput:
    moment = wire.timestamp or None
    return EventInput(
        event_name=wire.event_name,
        identifier=wire.identifier,
        customer=wire.customer,
        workspace=wire.workspace or "",
        timestamp=moment if moment is None or moment.tzinfo is UTC else _in_utc(moment),
        properties=check_properties(wire.properties) if wire.properties else {},
    )


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise BadValue(_NO_INSTANT, "$.timestamp") from error


def _string_count(wire: _Wire) -> int:
    """Count the strings that an event is made of, its keys included.

    A decoder keeps the last of two values under one key silently, and readers would differ on
    which. The one that was dropped leaves its quotes behind in the text.
    """
    count = _EVENT_STRINGS
    if wire.workspace is not UNSET:
        count += 1 if wire.workspace is None else 2
    if wire.timestamp is not UNSET:
        count += 1 if wire.timestamp is None else 2
    if wire.properties is not UNSET:
        count += 1
        if wire.properties:
            count += len(wire.properties)
            for value in wire.properties.values():
                if type(value) is str:
                    count += 1
    return count


def _strings_in(text: bytes) -> int:
    """Count the strings of a JSON text: half of its quotes, those inside a string aside."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return text.count(b'"') // 2


def _refuse_repeated_envelope(body: bytes, raws: Sequence[msgspec.Raw]) -> None:
    if _strings_in(body) != _BATCH_STRINGS + sum(_strings_in(bytes(raw)) for raw in raws):
        raise MalformedBody("events comes twice")


def refuse_unstorable(properties: Mapping[str, Any]) -> None:
    """Refuse what PostgreSQL's text does not take.

    Raises:
        BadValue: a NUL character or a lone surrogate in a name or a text.
    """
    for key, value in properties.items():
        if any(isinstance(text, str) and UNSTORABLE.search(text) for text in (key, value)):
            raise BadValue("holds a NUL character or a lone surrogate", "$.properties")


def _rewritten(body: bytes, error: msgspec.DecodeError) -> bytes:
    rewritten = rewrite(body)
    if rewritten is None:
        raise MalformedBody(f"the body is not JSON: {error}") from error
    return rewritten


def _label(raw: bytes) -> str:
    """Return the identifier of an item that is bad otherwise, for the sender to find it."""
    try:
        return UNSTORABLE.sub("", _decode_label(raw).identifier)[:128]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
