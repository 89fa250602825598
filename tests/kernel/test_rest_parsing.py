"""Bodies are read within bounds and strictly; gzip is undone once."""

import gzip
import io
import json
import zlib
from decimal import Decimal

import pytest
from django.core.handlers.wsgi import WSGIRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.errors import BillingError
from billing_project.kernel.rest.parsing import MAX_BYTES, MAX_DEPTH, parse_json, read_body


def request_of(body: bytes, **meta: object) -> WSGIRequest:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
    }
    return WSGIRequest({**environ, **meta})


def code_of(request: WSGIRequest) -> str:
    with pytest.raises(BillingError) as refused:
        read_body(request)
    return refused.value.code


def test_a_plain_body_is_read_as_it_is() -> None:
    assert read_body(request_of(b"{}")) == b"{}"


def test_a_body_at_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    assert len(read_body(request_of(b"x" * MAX_BYTES))) == MAX_BYTES
    assert code_of(request_of(b"x" * (MAX_BYTES + 1))) == "body_too_large"


def test_gzip_is_undone() -> None:
    assert (
        read_body(request_of(gzip.compress(b"{}", mtime=0), HTTP_CONTENT_ENCODING="gzip")) == b"{}"
    )


def test_a_gzip_bomb_is_refused_before_it_takes_memory() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(bomb.compress(b"\0" * 1_000_000) for _ in range(100)) + bomb.flush()
    assert len(body) < 200_000  # 100 MB of zeros.

    assert code_of(request_of(body, HTTP_CONTENT_ENCODING="gzip")) == "body_too_large"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        gzip.compress(b"{}", mtime=0)[:-4],
        gzip.compress(b"{}", mtime=0) * 2,
        b"\x1f\x8b\x08",
    ],
)
def test_what_is_not_one_gzip_member_is_malformed(body: bytes) -> None:
    assert code_of(request_of(body, HTTP_CONTENT_ENCODING="gzip")) == "malformed_body"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_other_encodings_are_refused(encoding: str) -> None:
    assert code_of(request_of(b"x", HTTP_CONTENT_ENCODING=encoding)) == "unsupported_encoding"


def test_a_chunked_body_is_read_and_bounded() -> None:
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}

    assert read_body(request_of(b"{}", CONTENT_LENGTH="", **chunked)) == b"{}"
    large = request_of(b"x" * (MAX_BYTES + 1), CONTENT_LENGTH="", **chunked)
    assert code_of(large) == "body_too_large"


def test_a_server_that_cannot_end_a_chunked_body_asks_for_its_length() -> None:
    request = request_of(b"{}", CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")

    assert code_of(request) == "length_required"


class BrokenChunks(io.BytesIO):
    """What a server's reader does at a chunk without a size."""

    def read(self, _size: int | None = -1) -> bytes:
        raise ValueError("Invalid chunk size: b'ZZ'")


def test_broken_chunks_are_malformed() -> None:
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}

    assert code_of(request_of(b"", **chunked, **{"wsgi.input": BrokenChunks()})) == "malformed_body"


def test_numbers_are_exact() -> None:
    content = parse_json(b'{"a": 0.1, "b": 1e3, "c": 12345678901234567890123}')

    assert content == {"a": Decimal("0.1"), "b": Decimal("1E+3"), "c": 12345678901234567890123}
    assert isinstance(content["a"], Decimal)


def test_depth_is_bounded_exactly() -> None:
    parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)

    with pytest.raises(BillingError, match="nested deeper"):
        parse_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(_DOCUMENTS)
def test_what_is_storable_comes_back_and_the_rest_is_refused(document: object) -> None:
    text = json.dumps(document)

    if "\\u0000" in text or "\\ud8" in text.replace("\\\\", ""):
        return  # NUL and surrogates have their own tests.
    assert parse_json(text.encode()) == document


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_problem(body: bytes) -> None:
    try:
        parse_json(body)
    except BillingError as error:
        assert 400 <= error.status_code < 500  # noqa: PT017
