"""CloudEvents 1.0 in structured JSON, one or a batch, read as the native events that they carry.

`source` and `id` together are the key, `subject` the customer, `type` the event's name, `time` the
timestamp, `data` the properties; the extension `workspace` names the workspace, and other
extensions are passed over, as the specification asks. What a native event must be, these must be.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from billing_project.kernel.errors import Invalid
from metering.events import (
    MAX_EVENTS,
    BadItem,
    Body,
    EventInput,
    MalformedBody,
    decode_event,
    fault_of,
)
from metering.rescue import UNSTORABLE, rewrite

CLOUD_EVENT = "application/cloudevents+json"
CLOUD_BATCH = "application/cloudevents-batch+json"

_PLAIN = re.compile(r"[A-Za-z0-9._:/-]+\Z")
_MAX_IDENTIFIER = 128
_JSON_TYPE = re.compile(r"[^/]+/([^/;]+\+)?json\s*(;.*)?\Z", re.IGNORECASE)
_PATHS = {
    "$.event_name": "$.type",
    "$.customer": "$.subject",
    "$.timestamp": "$.time",
    "$.properties": "$.data",
}

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Wire(msgspec.Struct):
    """Attributes that are read; null means the same as absent."""

    specversion: str
    id: _Text
    source: _Text
    type: _Text
    subject: str | None = None
    time: str | None = None
    workspace: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    data_base64: str | None = None


class _Label(msgspec.Struct):
    id: _Text
    source: _Text


_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_one = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_wire = msgspec.json.Decoder(_Wire).decode
_decode_label = msgspec.json.Decoder(_Label).decode


def decode_cloud_batch(body: bytes) -> Body:
    """Read a JSON array of events; an empty one is valid, as in the specification.

    Raises:
        MalformedBody: not JSON, nested too deep, not an array.
        Invalid: more than 1,000 events.
    """
    try:
        events = _decode_batch(_readable(body))
    except msgspec.ValidationError as error:
        raise MalformedBody(f"the body of {CLOUD_BATCH} is an array of events") from error
    if len(events) > MAX_EVENTS:
        raise Invalid(f"a batch has at most {MAX_EVENTS} events, not {len(events)}")
    return Body(tuple(_decode_item(bytes(raw)) for raw in events), is_batch=True)


def decode_cloud_event(body: bytes) -> Body:
    """Read one event.

    Raises:
        MalformedBody: not JSON, nested too deep, not an object.
    """
    readable = _readable(body)
    try:
        _decode_one(readable)
    except msgspec.ValidationError as error:
        raise MalformedBody(f"the body of {CLOUD_EVENT} is one event, an object") from error
    return Body((_decode_item(readable),), is_batch=False)


def identifier_of(source: str, id: str) -> str:  # noqa: A002 - the specification's name
    """Derive the one identifier of a source and id; no two pairs share one.

    The length of the source tells where the id begins, so that ("a:b", "c") and ("a", "b:c")
    differ. What does not fit, or has other characters than an identifier may have, is hashed; a
    letter behind "ce" tells the two forms apart.
    """
    readable = f"ce{len(source)}:{source}:{id}"
    if len(readable) <= _MAX_IDENTIFIER and _PLAIN.match(source) and _PLAIN.match(id):
        return readable
    pair = json.dumps([source, id], separators=(",", ":"))  # ASCII, whatever the two hold.
    return f"cesha256:{hashlib.sha256(pair.encode()).hexdigest()}"


def _readable(body: bytes) -> bytes:
    """Return the body as strict JSON; values that nobody can store cost their own item later."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        return body
    except RecursionError as error:
        raise MalformedBody("the body is nested too deep", code="too_deep") from error
    except UnicodeDecodeError as error:
        raise MalformedBody("the body is not UTF-8") from error
    except msgspec.DecodeError as error:
        return _rewritten(body, error)


def _rewritten(body: bytes, error: msgspec.DecodeError) -> bytes:
    try:
        rewritten = rewrite(body)
    except RecursionError as deep:
        raise MalformedBody("the body is nested too deep", code="too_deep") from deep
    if rewritten is None:
        raise MalformedBody(f"the body is not JSON: {error}") from error
    return rewritten


def _decode_item(raw: bytes) -> EventInput | BadItem:
    try:
        return _native(_decode_wire(raw), raw)
    except msgspec.ValidationError as error:
        return BadItem(*fault_of(error), _label(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return BadItem("is not readable as an event", identifier=_label(raw))


def _native(wire: _Wire, raw: bytes) -> EventInput | BadItem:
    identifier = identifier_of(wire.source, wire.id)
    if fault := _fault_of(wire, raw):
        detail, path = fault
        return BadItem(detail, path, identifier)
    item = decode_event(_as_native(wire, identifier))
    if isinstance(item, EventInput):
        return item
    return replace(item, path=_cloud_path(item.path), identifier=identifier)


def _fault_of(wire: _Wire, raw: bytes) -> tuple[str, str] | None:
    """Return what is wrong as (detail, path), before the native rules are asked."""
    data = bytes(wire.data)
    if wire.specversion != "1.0":
        return "is read in version 1.0 only", "$.specversion"
    if not wire.subject:
        return "names the customer and is required", "$.subject"
    if wire.data_base64 is not None:
        return "is not read; data is a JSON object", "$.data_base64"
    if wire.datacontenttype is not None and not _JSON_TYPE.match(wire.datacontenttype):
        return "is JSON or absent; data is a JSON object", "$.datacontenttype"
    if data != b"null" and not data.startswith(b"{"):
        return "is a flat JSON object: the properties", "$.data"
    if UNSTORABLE.search(f"{wire.source}{wire.id}"):
        return "holds a NUL character or a lone surrogate", "$"
    return _repetition(raw)


def _repetition(raw: bytes) -> tuple[str, str] | None:
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            repeated.append("a key comes twice")
        return content

    json.loads(raw, object_pairs_hook=note, parse_int=str, parse_float=str)
    return (repeated[0], "$") if repeated else None


def _as_native(wire: _Wire, identifier: str) -> bytes:
    """Write the native report; data stays the bytes that were sent, with every digit."""
    native = {
        "event_name": wire.type,
        "identifier": identifier,
        "customer": wire.subject,
        "workspace": wire.workspace,
        "timestamp": wire.time,
        "properties": wire.data,
    }
    return msgspec.json.encode({name: value for name, value in native.items() if value is not None})


def _cloud_path(path: str) -> str:
    for native, cloud in _PATHS.items():
        if path == native or path.startswith(f"{native}."):
            return cloud + path[len(native) :]
    return path


def _label(raw: bytes) -> str:
    try:
        label = _decode_label(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return identifier_of(label.source, label.id)
