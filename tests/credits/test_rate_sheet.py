"""A sheet of rates: read, written, and each rate in words."""

from typing import Any

import pytest

from credits.rate_sheet import BadSheet, in_words, read_sheet, write_sheet

PER_UNIT = {"meter_code": "out", "dimensions": {"model": "a"}, "unit_price": "0.002"}
PACKAGE = {
    "meter_code": "in", "dimensions": {}, "model": "package",
    "terms": {"size": "1000", "price": "2"}, "included": "1000000",
}  # fmt: skip
GRADUATED: dict[str, Any] = {
    "meter_code": "in", "dimensions": {"job": "batch", "model": "b"}, "model": "graduated",
    "terms": {"tiers": [{"up_to": "1000", "unit_price": "0.5"},
                        {"up_to": None, "unit_price": "0.2", "flat_fee": "3"}]},
    "minimum": "5", "maximum": "900", "pools": "account",
}  # fmt: skip
FLAT = {"meter_code": "s", "dimensions": {}, "model": "flat_fee", "terms": {"fee": "10"}}
SHARE = {"meter_code": "s", "dimensions": {}, "model": "percentage", "terms": {"percent": "2.5"}}
CELL = {**PER_UNIT, "terms": {"matrix": "Models, by kind"}}
TIERED_CELL = {**GRADUATED, "terms": {**GRADUATED["terms"], "matrix": "Jobs"}}
ALL: list[dict[str, Any]] = [PER_UNIT, PACKAGE, GRADUATED, FLAT, SHARE, CELL, TIERED_CELL]


def test_what_is_written_is_read_back() -> None:
    read = [dict(one.content) for one in read_sheet(write_sheet(ALL))]

    wanted = [{"model": "per_unit", "unit_price": "0", **rate} for rate in ALL]
    assert read == wanted


def test_lines_are_counted_as_an_editor_does() -> None:
    text = "meter,dimensions,model,price\n\nout,,per_unit,1\r\nin, model=a ,,0.5,,100\n"

    one, two = read_sheet(text)

    assert (one.line, two.line) == (3, 4)
    assert two.content == {
        "meter_code": "in", "dimensions": {"model": "a"}, "model": "per_unit",
        "unit_price": "0.5", "included": "100",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("out,,per_unit", "line 1: has 3 cells"),
        ("out,,per_unit,1,,,,,,,", "line 1: has 11 cells"),
        ("out,model,per_unit,1", "dimensions are written like"),
        ("out,model=a; model=b,per_unit,1", "dimensions are written like"),
        ("out,,package,10", "10 per 1000"),
        ("out,,graduated,,1000 0.5", "tiers are written like"),
        ("out,,per_unit,1,1000: 0.5", "tiers are for graduated and volume"),
        ('out,"x', "line 1"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, words: str) -> None:
    with pytest.raises(BadSheet, match=words):
        read_sheet(line)


def test_a_fault_knows_its_place() -> None:
    with pytest.raises(BadSheet) as fault:
        read_sheet("out,,per_unit,1\nout,,graduated,,1000 0.5")

    assert (fault.value.line, fault.value.column) == (2, "tiers")


def test_a_sheet_has_an_end() -> None:
    with pytest.raises(BadSheet, match="at most 2,000"):
        read_sheet("out,,per_unit,1\n" * 2_001)


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (PER_UNIT, "0.002 credits a token"),
        (PACKAGE, "first 1,000,000 tokens included, then 2 credits for each 1,000 tokens begun"),
        (
            GRADUATED,
            "up to 1,000: 0.5 a token; beyond: 0.2 a token and 3 once (credits, each tier at its"
            " price), at least 5, at most 900, all workspaces together",
        ),
        (FLAT, "10 credits a billing period with usage"),
        (SHARE, "2.5 % of the value, in credits"),
    ],
)
def test_a_rate_says_in_words_what_it_charges(rate: dict[str, Any], words: str) -> None:
    assert in_words(rate, "token") == words
