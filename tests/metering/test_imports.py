"""Files are read record by record: what is broken costs itself, and any place can be taken up."""

import gzip
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.errors import Invalid
from metering.events import BadItem, EventInput
from metering.imports import (
    MAX_RECORD,
    FileFormat,
    Position,
    Record,
    format_named,
    open_plain,
    read_records,
)

_HEADER = "event_name,identifier,customer,workspace,timestamp,model,properties.tokens\n"


def _csv(text: str | bytes, start: Position | None = None) -> list[Record]:
    raw = text.encode() if isinstance(text, str) else text
    return list(read_records(io.BytesIO(raw), FileFormat.CSV, start or Position()))


def _jsonl(raw: bytes, start: Position | None = None) -> list[Record]:
    return list(read_records(io.BytesIO(raw), FileFormat.JSONL, start or Position()))


def _faults(records: Sequence[Record]) -> list[tuple[int, str]]:
    return [(one.line, one.item.detail) for one in records if isinstance(one.item, BadItem)]


def test_a_csv_row_is_an_event_and_an_empty_cell_is_absent() -> None:
    (record,) = _csv(_HEADER + "llm_request,e1,acme,,2026-11-20T10:00:00Z,haiku,1.50\n")

    assert record.item == EventInput(
        event_name="llm_request",
        identifier="e1",
        customer="acme",
        timestamp=datetime(2026, 11, 20, 10, tzinfo=UTC),
        properties={"model": "haiku", "tokens": "1.50"},
    )
    assert (record.line, record.end.line) == (2, 2)


def test_a_quoted_field_may_hold_commas_quotes_and_lines() -> None:
    records = _csv(_HEADER + 'x,e1,acme,,,"a, ""b""\r\nc",1\r\nx,e2,acme,,,d,2\r\n')

    assert isinstance(records[0].item, EventInput)
    assert records[0].item.properties["model"] == 'a, "b"\r\nc'
    assert [one.line for one in records] == [2, 4]


def test_bad_rows_cost_themselves() -> None:
    lone = 'x,e3,acme,,,a"b,1\n'
    records = _csv(
        _HEADER.encode() + b"x,e1,acme\n" + b"x,\xff,acme,,,m,1\n" + b"x,e 2,acme,,,m,1\n"
        + lone.encode() + b"x,e4,acme,,,m,1\n\n"
    )  # fmt: skip

    assert _faults(records) == [
        (2, "has 3 cells where the header has 7"),
        (3, "is not UTF-8"),
        (4, "is 1 to 128 of A-Z a-z 0-9 . _ : / -"),
        (5, "has a quoted field that does not end"),
    ]
    assert [one.item.identifier for one in records][-1] == "e4"


def test_two_lone_quotes_cost_their_own_lines_and_none_between() -> None:
    good = "".join(f"x,e{i},acme,,,m,1\n" for i in range(5))
    records = _csv(_HEADER + 'x,a,acme,,,17" screen,1\n' + good + 'x,b,acme,,,24" screen,1\n')

    does_not_end = "has a quoted field that does not end"
    assert _faults(records) == [(2, does_not_end), (8, does_not_end)]
    assert [one.item.identifier for one in records[1:-1]] == [f"e{i}" for i in range(5)]
    assert [one.end.line for one in records] == list(range(2, 9))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "event_name,identifier\n",
        "event_name,identifier,customer,customer\n",
        "event_name,identifier,customer,a,properties.a\n",
        "event_name,identifier,customer,\n",
        "event_name,identifier,customer,properties.\n",
        '"event_name\n',
    ],
)
def test_a_header_that_does_not_tell_refuses_the_file(header: str) -> None:
    with pytest.raises(Invalid):
        _csv(header + "x,e1,acme\n")


def test_a_byte_order_mark_is_passed_over() -> None:
    assert isinstance(_csv("\ufeff" + _HEADER + "x,e1,acme,,,m,1\n")[0].item, EventInput)
    event = {"event_name": "x", "identifier": "e1", "customer": "acme"}
    assert isinstance(_jsonl("\ufeff".encode() + json.dumps(event).encode())[0].item, EventInput)


def test_lines_of_json_keep_their_digits_and_blank_ones_are_passed_over() -> None:
    raw = b'{"event_name":"x","identifier":"e1","customer":"a","properties":{"gb":1.50}}\n\n{}\n'

    first, second = _jsonl(raw)

    assert isinstance(first.item, EventInput)
    assert str(first.item.properties["gb"]) == "1.50"
    assert (second.line, isinstance(second.item, BadItem)) == (3, True)


def test_an_endless_line_is_refused_in_bounded_memory() -> None:
    raw = b"x" * (MAX_RECORD * 3) + b"\n{}\n"

    long, short = _jsonl(raw)

    assert isinstance(long.item, BadItem)
    assert "longer" in long.item.detail
    assert len(long.raw) == MAX_RECORD + 1
    assert (short.line, long.end.offset) == (2, MAX_RECORD * 3 + 1)


def test_compressed_files_are_read_by_their_first_bytes() -> None:
    raw = gzip.compress(b"{}\n")

    assert open_plain(io.BytesIO(raw)).read() == b"{}\n"
    assert open_plain(io.BytesIO(b"{}\n")).read() == b"{}\n"
    assert open_plain(io.BytesIO(b"")).read() == b""


def test_names_tell_the_format() -> None:
    assert format_named("a.CSV.gz") == FileFormat.CSV
    assert format_named("a.ndjson") == format_named("b.jsonl") == FileFormat.JSONL
    assert format_named("a.txt") is None


_cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5)
_lines = st.lists(
    st.tuples(_cells, _cells).map(lambda pair: f'x,e1,acme,,,"{pair[0]}",{pair[1]}')
    | st.sampled_from(['x,e1,acme,,,m,"a\nb"', '"', ",", "", 'x,"'])
)


@given(_lines, st.sampled_from(["\n", "\r\n"]))
def test_any_place_can_be_taken_up(lines: list[str], ending: str) -> None:
    text = _HEADER + ending.join(lines)
    whole = _csv(text)

    for i, record in enumerate(whole):
        assert _csv(text, record.end) == whole[i + 1 :]
    assert [one.end.offset for one in whole] == sorted({one.end.offset for one in whole})
