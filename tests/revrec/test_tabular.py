"""CSV that spreadsheets read as data."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revrec.tabular import csv_text, safe_cell


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "@SUM(A1)", "-2+3", "\tx", "\r=x", "-", "=cmd|' /C calc'!A0"]
)
def test_formulas_become_text(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-12.00", "12", "-0.5", "Revenue", "", "a=b", "1100"])
def test_numbers_and_words_stay(text: str) -> None:
    assert safe_cell(text) == text


def test_cells_with_commas_quotes_and_lines_are_quoted() -> None:
    text = csv_text(["name", "amount"], [['Ac"me, Inc\n2', "-1.00"]])

    assert text == 'name,amount\r\n"Ac""me, Inc\n2",-1.00\r\n'


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text("=+-@\t ,\"'\n0a.", max_size=6), min_size=2, max_size=2)))
def test_what_is_read_back_is_what_was_safe(rows: list[list[str]]) -> None:
    text = csv_text(["a", "b"], rows)

    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read[1:] == [[safe_cell(cell) for cell in row] for row in rows]
