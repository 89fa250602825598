"""Events as they come in: bytes in, typed events and refusals out, judged one by one.

A body that cannot be read at all is refused whole; inside a batch one bad item costs only itself.
Meters, customers and the clock play no part here (see `judging`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec

from billing_project.kernel.errors import BillingError, Invalid
from metering.aggregation import Value
from metering.rescue import UNSTORABLE, rewrite

MAX_EVENTS = 1000
MAX_PROPERTIES = 64
MAX_KEY = 100
MAX_TEXT = 1000
_MAX_MAGNITUDE = 24  # As kernel.quantity.LIMIT: every number below 10^24 ...
_MAX_DIGITS = 40  # ... and no finer than anybody measures.

_Name = Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,100}\Z")]
_Identifier = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:/-]{1,128}\Z")]
_Customer = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:/@+-]{1,128}\Z")]
_Workspace = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:/@+-]{0,128}\Z")]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class MalformedBody(BillingError):
    """The body is no JSON, too deep, or neither an event nor a batch."""

    code = "malformed_body"
    status_code = 400


class EventInput(msgspec.Struct, frozen=True, kw_only=True):
    """One report of use with the sender's own names; timestamp None means: when it arrives."""

    event_name: str
    identifier: str
    customer: str
    workspace: str = ""
    timestamp: datetime | None = None  # UTC.
    properties: Mapping[str, Value] = {}


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


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    event_name: _Name
    identifier: _Identifier
    customer: _Customer
    workspace: _Workspace | None = None
    timestamp: str | None = None  # Text, so that its colons can be counted.
    properties: dict[str, Any] | None = None


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


class _Label(msgspec.Struct):
    identifier: str = ""


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_wire = msgspec.json.Decoder(_Wire, float_hook=Decimal).decode
_decode_label = msgspec.json.Decoder(_Label).decode
_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode


def decode_body(body: bytes) -> Body:
    """Read a single event or `{"events": [...]}`.

    Raises:
        MalformedBody: not JSON, nested too deep, not an object.
        Invalid: a batch of none or of more than 1,000.
    """
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


def content_sha256(event: EventInput) -> bytes:
    """Hash what makes two reports under one identifier the same.

    The customer and identifier are the key, not the content (an alias names the same customer). A
    time that the sender did not give is no content either, so that a retry stays the same. Equal
    numbers are equal content: 1, 1.0 and 1e0, but not "1".
    """
    properties = {key: _plain(value) for key, value in event.properties.items()}
    content = (event.event_name, event.workspace, event.timestamp, properties)
    return hashlib.sha256(_encode(content)).digest()


def check_properties(properties: Mapping[str, Any]) -> dict[str, Value]:
    """Return flat, bounded, storable properties.

    Raises:
        BadValue: too many, nested, too long, out of bounds; the path names the property.
    """
    if len(properties) > MAX_PROPERTIES:
        raise BadValue(f"has more than {MAX_PROPERTIES} properties", "$.properties")
    return {_checked_key(key): _checked(key, value) for key, value in properties.items()}


class BadValue(ValueError):
    """A property that cannot be stored."""

    def __init__(self, detail: str, path: str) -> None:
        super().__init__(detail)
        self.detail, self.path = detail, path


def _split(body: bytes) -> Body:
    try:
        events = _decode_envelope(body).events
    except msgspec.ValidationError as error:
        if not body.lstrip(b" \t\r\n").startswith(b"{"):
            raise MalformedBody("the body is an object: one event, or {events: [...]}") from error
        if "`$.events`" in str(error):
            raise Invalid("events is an array of 1 to 1,000 events") from error
        return Body((_single(body),), is_batch=False)
    except msgspec.DecodeError as error:
        return _split(_rewritten(body, error))
    if not 1 <= len(events) <= MAX_EVENTS:
        raise Invalid(f"a batch has 1 to {MAX_EVENTS} events, not {len(events)}")
    return Body(tuple(decode_event(bytes(raw)) for raw in events), is_batch=True)


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
        detail, _, path = str(error).partition(" - at `")
        return BadItem(detail, path.rstrip("`") or "$", _label(raw))
    except InvalidOperation:
        return BadItem("has a number that is out of bounds", "$.properties", _label(raw))


def _typed(raw: bytes) -> EventInput:
    wire = _decode_wire(raw)
    properties = wire.properties or {}
    if b"\\u" in raw:
        _refuse_unstorable(properties)
    checked = check_properties(properties)
    _refuse_repeated_keys(raw, wire, checked)
    return EventInput(
        event_name=wire.event_name,
        identifier=wire.identifier,
        customer=wire.customer,
        workspace=wire.workspace or "",
        timestamp=None if wire.timestamp is None else _instant(wire.timestamp),
        properties=checked,
    )


def _instant(text: str) -> datetime:
    try:
        return msgspec.convert(text, _Instant).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        detail = "must be an RFC 3339 instant with its offset (2026-11-20T10:15:30Z)"
        raise BadValue(detail, "$.timestamp") from error


def _refuse_unstorable(properties: Mapping[str, Any]) -> None:
    """Look for NUL and lone surrogates; both can only be written as an escape."""
    for key, value in properties.items():
        if any(isinstance(text, str) and UNSTORABLE.search(text) for text in (key, value)):
            raise BadValue("holds a NUL character or a lone surrogate", "$.properties")


def _checked_key(key: str) -> str:
    if not 1 <= len(key) <= MAX_KEY:
        raise BadValue(f"a property's name has 1 to {MAX_KEY} characters", "$.properties")
    return key


def _checked(key: str, value: object) -> Value:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise BadValue(f"is longer than {MAX_TEXT} characters", f"$.properties.{key}")
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


def _refuse_repeated_keys(raw: bytes, wire: _Wire, properties: Mapping[str, Value]) -> None:
    """Refuse an object that says two things under one name (readers would differ on which).

    A decoder keeps the last one silently. Each dropped key leaves its colon behind, so counting
    colons clears nearly every event; the exact and slower look decides about the rest.
    """
    texts = (wire.event_name, wire.identifier, wire.customer, wire.workspace, wire.timestamp)
    colons = sum(text.count(":") for text in texts if text)
    colons += sum(key.count(":") + 1 for key in properties)
    colons += sum(value.count(":") for value in properties.values() if isinstance(value, str))
    colons += 3 + (wire.workspace is not None) + (wire.timestamp is not None)
    colons += wire.properties is not None
    if raw.count(b":") != colons or b"\\u003" in raw:
        json.loads(raw, object_pairs_hook=_refuse_pairs, parse_int=str, parse_float=str)


def _refuse_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise BadValue("a key comes twice", "$")
    return content


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


def _plain(value: Value) -> Value:
    """Bring a number to its one shortest form."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else value.normalize()
