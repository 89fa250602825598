"""Hashes of many entries at once are the hashes of each."""

from datetime import UTC, date, datetime

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from revrec.chain import Field, entry_sha256
from revrec.chain_columns import (
    SEALED_IF_TOLD,
    SEALED_OF_ENTRY,
    SEALED_OF_POSTING,
    entries_sha256,
)

Cells = list[str | None]
cells = st.one_of(st.none(), st.text(max_size=5))
worth: st.SearchStrategy[Cells] = st.one_of(
    st.just([None, None]), st.lists(st.text(max_size=5), min_size=2, max_size=2)
)
told = st.builds(lambda pair, model: [*pair, model], worth, cells)
postings = st.builds(
    lambda own, more: [*own, *more],
    st.lists(cells, min_size=len(SEALED_OF_POSTING), max_size=len(SEALED_OF_POSTING)),
    told,
)
entries = st.tuples(
    st.lists(cells, min_size=len(SEALED_OF_ENTRY), max_size=len(SEALED_OF_ENTRY)),
    st.text("0123456789abcdef", max_size=64),
    st.lists(postings, max_size=3),
)


def _table(names: tuple[str, ...], rows: list[Cells]) -> pa.Table:
    columns = [[row[place] for row in rows] for place in range(len(names))]
    return pa.table(
        {name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)}
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(entries, min_size=1, max_size=4))
def test_each_entry_has_the_hash_that_it_has_alone(
    drawn: list[tuple[Cells, str, list[Cells]]],
) -> None:
    entry_rows = [[str(n), previous, *own] for n, (own, previous, _) in enumerate(drawn)]
    whole = len(SEALED_OF_POSTING) + len(SEALED_IF_TOLD)
    posting_rows = [
        [str(n), *cell, *[None] * (whole - len(cell))]
        for n, (_, _, lines) in enumerate(drawn)
        for cell in lines
    ]

    found = entries_sha256(
        _table(("id", "previous_sha256", *SEALED_OF_ENTRY), entry_rows),
        _table(("entry_id", *SEALED_OF_POSTING, *SEALED_IF_TOLD), posting_rows),
    )

    assert found == [
        entry_sha256(previous, own, map(_sealed, lines)) for own, previous, lines in drawn
    ]


def _sealed(cell: Cells) -> Cells:
    always = len(SEALED_OF_POSTING)
    return [*cell[:always], *(field for field in cell[always:] if field is not None)]


def test_the_text_that_is_read_is_the_text_that_was_sealed() -> None:
    """Numbers, dates and instants as PostgreSQL's text has them, next to Python's own."""
    own: list[Field] = [
        7, date(2026, 1, 1), date(2026, 1, 15), "payment_recorded", "Zahlung für Œuvre", None, 2,
        None, "payment:1:recorded", datetime(2026, 2, 10, 9, tzinfo=UTC), 3,
    ]  # fmt: skip
    texts: Cells = [
        "7", "2026-01-01", "2026-01-15", "payment_recorded", "Zahlung für Œuvre", None, "2",
        None, "payment:1:recorded", "2026-02-10T09:00:00.000000+00:00", "3",
    ]  # fmt: skip

    found = entries_sha256(
        _table(("id", "previous_sha256", *SEALED_OF_ENTRY), [["1", "a" * 64, *texts]]),
        _table(("entry_id", *SEALED_OF_POSTING), []),
    )

    assert found == [entry_sha256("a" * 64, own, [])]
