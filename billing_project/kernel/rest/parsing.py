"""Read a request's body without trusting it: bounded, one layer of gzip, strict JSON.

Numbers leave as int or Decimal, never as float. What JSON leaves open (duplicate keys, NaN, depth)
is refused, so that two readers of a body cannot see different things.
"""

import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import IO, Any, NoReturn, Protocol

from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from billing_project.kernel.errors import Invalid
from billing_project.kernel.rest.errors import (
    BadRequest,
    BodyTooLarge,
    LengthRequired,
    UnsupportedEncoding,
)

MAX_BYTES = 5 * 1024 * 1024  # Of the body as sent, and of the body once decompressed.
MAX_DEPTH = 32
_MAX_DIGITS = 100  # Of a number literal, and of its magnitude: 1e400 is text, not a quantity.
_CHUNK = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL's text takes neither.


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_body(request: HttpRequest) -> bytes:
    """Read the whole body, decompressed if it says gzip.

    Raises:
        BodyTooLarge: more than MAX_BYTES before or after decompression.
        UnsupportedEncoding: another encoding than gzip.
        BadRequest: the body ended early, or is no gzip.
    """
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in {"", "identity", "gzip"}:
        raise UnsupportedEncoding("bodies are sent as they are or with Content-Encoding: gzip")
    declared = int(request.META.get("CONTENT_LENGTH") or 0)  # Checked by the server's parser.
    if declared > MAX_BYTES:
        raise _too_large()
    body = _read_bounded(_stream_of(request))
    if len(body) < declared:
        raise BadRequest("the body ended before its Content-Length")
    return _decompress(body) if encoding == "gzip" else body


def parse_json(body: bytes) -> Any:
    """Read one JSON document.

    Returns:
        dict, list, str, bool, None, int or Decimal.

    Raises:
        BadRequest: not UTF-8, not JSON, too deep, a key twice, NaN or Infinity.
        Invalid: a number beyond any bound, a NUL character or a lone surrogate.
    """
    try:
        content = json.loads(
            body.decode("utf-8"),
            parse_float=_decimal,
            parse_int=_int,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except RecursionError as error:
        raise _too_deep() from error
    except UnicodeDecodeError as error:
        raise BadRequest("the body is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg} at {error.pos}") from error
    _check_strings(content)
    return content


class StrictJSONParser(BaseParser):
    """`application/json`, read by `parse_json`."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the document."""
        return parse_json(stream.read())


class BytesParser(BaseParser):
    """`application/json`, left as bytes for a view that decodes it by type (POST /v1/events)."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the body, bounded and decompressed."""
        return stream.read()


def _stream_of(request: HttpRequest) -> _Readable:
    """Return the stream of the body; Django itself reads nothing of a chunked one."""
    if "chunked" not in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        return request
    if not request.META.get("wsgi.input_terminated"):
        raise LengthRequired("this server needs Content-Length")
    stream: _Readable = request.META["wsgi.input"]
    return stream


def _read_bounded(stream: _Readable) -> bytes:
    body = io.BytesIO()
    while chunk := _read_some(stream):
        body.write(chunk)
        if body.tell() > MAX_BYTES:
            raise _too_large()
    return body.getvalue()


def _read_some(stream: _Readable) -> bytes:
    try:
        return stream.read(_CHUNK)
    except Exception as error:
        raise BadRequest("the body ended early or its chunks are broken") from error


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"a body has at most {MAX_BYTES} bytes")


def _decompress(body: bytes) -> bytes:
    """Undo one gzip member; the bound holds before memory is taken."""
    gzip = zlib.decompressobj(_GZIP)
    try:
        plain = gzip.decompress(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise BadRequest("the body is not gzip") from error
    if len(plain) > MAX_BYTES:
        raise BodyTooLarge(f"a body has at most {MAX_BYTES} bytes once decompressed")
    if not gzip.eof or gzip.unused_data:
        raise BadRequest("the body is not exactly one gzip member")
    return plain


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if len(text) > _MAX_DIGITS or abs(number.adjusted()) > _MAX_DIGITS:
        raise Invalid("a number has more digits than anything that is counted")
    return number


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise Invalid("a number has more digits than anything that is counted")
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadRequest(f"the key {twice[:100]!a} comes twice")
    return content


def _check_strings(content: object) -> None:
    """Walk the document without recursion: depth, NUL, lone surrogates."""
    level, depth = [content], 0
    while level:
        if any(isinstance(text, str) and _UNSTORABLE.search(text) for text in level):
            raise Invalid("text holds a NUL character or a lone surrogate")
        nested = [child for child in level if isinstance(child, dict | list)]
        if nested and depth == MAX_DEPTH:
            raise _too_deep()
        level, depth = [child for parent in nested for child in _children(parent)], depth + 1


def _children(content: dict[str, Any] | list[Any]) -> Iterator[object]:
    if isinstance(content, dict):
        yield from content.keys()
        yield from content.values()
    else:
        yield from content


def _too_deep() -> BadRequest:
    return BadRequest(f"the body is nested deeper than {MAX_DEPTH}", code="too_deep")
