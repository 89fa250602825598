"""Exports: three formats, piece by piece, and nothing that a spreadsheet would run."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from billing_project.kernel.exporting import Cell, Column, pieces, safe_cell

COLUMNS = [Column("id", int), Column("text"), Column("at", datetime), Column("is_open", bool)]
AT = datetime(2026, 11, 20, 12, 0, 0, 5, tzinfo=UTC)
ROW: dict[str, Cell] = {"id": 7, "text": '=1+1, "x"', "at": AT, "is_open": True}
EMPTY: dict[str, Cell] = {"id": 8, "text": "", "at": None, "is_open": False}


def _whole(kind: str) -> bytes:
    return b"".join(pieces(kind, COLUMNS, iter([ROW, EMPTY])))


def test_csv_opens_without_running_anything() -> None:
    header, first, second = csv.reader(io.StringIO(_whole("csv").decode(), newline=""))

    assert header == ["id", "text", "at", "is_open"]
    assert first == ["7", '\'=1+1, "x"', "2026-11-20T12:00:00.000005Z", "true"]
    assert second == ["8", "", "", "false"]


@pytest.mark.parametrize("text", ["=1", "+1+1", "-x", "@SUM(A1)", "\tx", "\rx", "-1+2"])
def test_a_formula_becomes_text(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "1", "-1", "-0.5", "x=1", "a-b"])
def test_what_is_no_formula_stays(text: str) -> None:
    assert safe_cell(text) == text


def test_json_lines_keep_text_as_it_is() -> None:
    first, second = (json.loads(line) for line in _whole("jsonl").splitlines())

    assert first == {**ROW, "at": "2026-11-20T12:00:00.000005Z"}
    assert second["at"] is None


def test_parquet_has_types_and_reads_back() -> None:
    table = pq.read_table(io.BytesIO(_whole("parquet")))

    assert [str(field.type) for field in table.schema] == [
        "int64", "string", "timestamp[us, tz=UTC]", "bool",
    ]  # fmt: skip
    assert table.to_pylist() == [ROW, EMPTY]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_are_read_as_they_are_written(kind: str) -> None:
    read = 0

    def rows() -> Iterator[dict[str, Cell]]:
        nonlocal read
        for number in range(10_000):
            read += 1
            yield {**ROW, "id": number}

    reader = pieces(kind, COLUMNS, rows())
    next(reader)
    next(reader)

    assert read <= 4_000
    assert sum(1 for _ in reader) >= 3


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_nothing_is_a_whole_file_too(kind: str) -> None:
    body = b"".join(pieces(kind, COLUMNS, iter([])))

    if kind == "parquet":
        assert pq.read_table(io.BytesIO(body)).num_rows == 0
    else:
        assert body == (b"id,text,at,is_open\r\n" if kind == "csv" else b"")
