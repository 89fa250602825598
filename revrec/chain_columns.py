"""The journal's hashes of many entries at once, from columns of text: what `chain` computes of one.

Enters: an Arrow table of entries and one of their postings, every cell the text that is sealed, an
absent value null. Leaves: a hash for each entry. `tests/revrec/test_chain_columns.py` holds it
against `chain.entry_sha256`, which says what a hash covers.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from revrec.chain import VERSION

if TYPE_CHECKING:
    import pyarrow as pa

# What a hash covers of an entry and of a posting, in this order.
SEALED_OF_ENTRY = (
    "chain_position",
    "period_start_on",
    "effective_on",
    "kind",
    "description",
    "customer_id",
    "posting_count",
    "reverses_id",
    "source_key",
    "recorded_at",
    "recorded_by_id",
)
SEALED_OF_POSTING = (
    "position",
    "account_id",
    "amount_minor",
    "currency",
    "customer_id",
    "obligation_id",
    "invoice_line_id",
    "service_start_on",
    "service_end_on",
)
# What follows them where it is told; nothing is written where it is not. Worth and currency are
# told together, so that one more field is a model, two are a worth, and three are both.
SEALED_IF_TOLD = ("functional_minor", "functional_currency", "model")


def entries_sha256(entries: "pa.Table", postings: "pa.Table") -> list[str]:
    """Return the hash of each entry, in hex, in the order given.

    Args:
        entries: `id`, `previous_sha256` and SEALED_OF_ENTRY.
        postings: `entry_id` and SEALED_OF_POSTING, SEALED_IF_TOLD where any are told; those of an
            entry adjacent, by position.
            Postings of other entries are left aside.
    """
    import pyarrow as pa

    head = _together([*_parts(pa.scalar(VERSION)), *_parts(entries["previous_sha256"])])
    own = _together([part for name in SEALED_OF_ENTRY for part in _parts(entries[name])])
    of_postings = _of_postings(entries["id"], postings)
    texts = _together([*_parts(head), *_parts(own), of_postings])
    return [sha256(text).hexdigest() for text in texts.cast("binary").to_pylist()]


def _of_postings(ids: Any, postings: "pa.Table") -> Any:
    """Return what each entry's postings add to its text; nothing where it has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    own = [part for name in SEALED_OF_POSTING for part in _parts(postings[name])]
    each = _framed(_together([*own, *_told(postings)]))
    runs = pc.run_end_encode(postings["entry_id"].combine_chunks(), run_end_type=pa.int32())
    ends = pa.concat_arrays([pa.array([0], pa.int32()), runs.run_ends])
    joined = pc.binary_join(pa.ListArray.from_arrays(ends, each), "")
    return pc.fill_null(joined.take(pc.index_in(ids, runs.values)), "")


def _told(postings: "pa.Table") -> list[Any]:
    """Return the columns that are sealed only where they say something, as they are written."""
    import pyarrow.compute as pc

    told = []
    for name in SEALED_IF_TOLD:
        column = postings[name] if name in postings.column_names else None
        if column is None or column.null_count == len(column):
            continue
        text = column.cast("string").combine_chunks()
        framed = pc.binary_join_element_wise(pc.binary_length(text).cast("string"), text, ":")
        told.append(pc.fill_null(framed, ""))
    return told


def _parts(column: Any) -> list[Any]:
    """Return what is joined to write each cell with its length, copying no long text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.Scalar):
        return [pa.scalar(f"{len(column.as_py().encode())}:{column.as_py()}")]
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.DictionaryArray) or column.null_count:
        return [_framed(column)]
    lengths = pc.binary_length(column)
    ends = pc.min_max(lengths).as_py()
    if ends["min"] is not None and ends["min"] == ends["max"]:
        return [pa.scalar(f"{ends['min']}:"), column]
    return [lengths.cast("string"), pa.scalar(":"), column]


def _framed(column: Any) -> Any:
    """Write each cell with its length in bytes; an absent one has a mark of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.DictionaryArray):
        words = pa.concat_arrays([_framed(column.dictionary), pa.array(["-"])])
        return words.take(pc.fill_null(column.indices, len(column.dictionary)))
    framed = pc.binary_join_element_wise(pc.binary_length(column).cast("string"), column, ":")
    return pc.fill_null(framed, "-") if framed.null_count else framed


def _together(columns: Sequence[Any]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    joined = pc.binary_join_element_wise(*columns, "")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
