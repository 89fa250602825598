"""Walk the journal's hash chain from its first entry on, in blocks that never fill the memory.

PostgreSQL copies a block's rows out as text while the block before is hashed; the reader's thread
and the caller take turns on one connection, so that a caller's own transaction is what is read.
"""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

from django.db import connection

from revrec.chain_columns import SEALED_OF_ENTRY, SEALED_OF_POSTING, entries_sha256
from revrec.links import Fault, Head, Link, faults_of

if TYPE_CHECKING:
    import pyarrow as pa

_ENTRIES_AT_ONCE = 20_000
_ENTRIES = """
SELECT e.id, e.entry_sha256, e.previous_sha256, e.chain_position, p.start_on, e.effective_on,
       e.kind, e.description, e.customer_id, e.posting_count, e.reverses_id, e.source_key,
       e.recorded_at, e.recorded_by_id
  FROM journal_entry e LEFT JOIN accounting_period p ON p.id = e.period_id
 WHERE e.chain_position > {after} OR {is_first} ORDER BY e.chain_position LIMIT {limit}
"""
_POSTINGS = """
SELECT entry_id, position, account_id, amount_minor, currency, customer_id, obligation_id,
       invoice_line_id, service_start_on, service_end_on
  FROM posting WHERE {of_block} ORDER BY entry_id, position
"""
_STRAY = """
SELECT p.id, p.entry_id FROM posting p
 WHERE NOT EXISTS (SELECT FROM journal_entry e WHERE e.id = p.entry_id) ORDER BY p.id LIMIT 100
"""
_OF_ENTRY = ("id", "entry_sha256", "previous_sha256", *SEALED_OF_ENTRY)
_OF_POSTING = ("entry_id", *SEALED_OF_POSTING)


@dataclass
class Walk:
    """How far a walk along the chain has come."""

    entry_count: int = 0
    posting_count: int = 0
    head: Head = field(default_factory=Head)  # The last entry walked, as stored.


@dataclass(frozen=True)
class _Block:
    entries: "pa.Table"
    postings: "pa.Table"


def chain_faults(walk: Walk | None = None, at_once: int = _ENTRIES_AT_ONCE) -> Iterator[Fault]:
    """Recompute the whole chain; yield what is wrong in the order of positions, then stray postings.

    Args:
        walk: Told how far the walk has come.
        at_once: Entries of a block.
    """
    walk = walk or Walk()
    held: tuple[_Block, list[Link]] | None = None  # Judged once the entry after is known.
    for block in _blocks(at_once):
        links = _links(block)
        if held is not None:
            yield from _faults(held, walk, links[0].previous_sha256)
        held = block, links
    if held is not None:
        yield from _faults(held, walk, None)
    yield from _stray_postings(walk)


def _faults(held: tuple[_Block, list[Link]], walk: Walk, following: str | None) -> Iterator[Fault]:
    block, links = held
    before = walk.head
    walk.entry_count += len(links)
    walk.posting_count += block.postings.num_rows
    walk.head = Head(links[-1].position, links[-1].entry_sha256)
    for number, link in enumerate(links):
        is_well = (
            link.computed_sha256 == link.entry_sha256
            and link.previous_sha256 == before.sha256
            and link.position == before.position + 1
        )
        if not is_well:
            after = links[number + 1].previous_sha256 if number + 1 < len(links) else following
            yield from faults_of(link, before, after, _Resealed(block, number))
        before = Head(link.position, link.entry_sha256)


class _Resealed:
    """The hash of one entry of a block, were it to follow another hash."""

    def __init__(self, block: _Block, number: int) -> None:
        self._block, self._number = block, number

    def __call__(self, previous: str) -> str:
        import pyarrow as pa

        entry = self._block.entries.slice(self._number, 1)
        place = entry.schema.get_field_index("previous_sha256")
        entry = entry.set_column(place, "previous_sha256", pa.array([previous]))
        return entries_sha256(entry, self._block.postings)[0]


def _links(block: _Block) -> list[Link]:
    entries = block.entries
    return list(
        map(
            Link,
            map(int, entries["id"].to_pylist()),
            map(int, entries["chain_position"].to_pylist()),
            entries["previous_sha256"].to_pylist(),
            entries["entry_sha256"].to_pylist(),
            entries_sha256(entries, block.postings),
        )
    )


def _blocks(at_once: int) -> Iterator[_Block]:
    """Read block after block, each while the one before is with the caller."""
    connection.ensure_connection()
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(_read_block, connection.connection, None, at_once)
        while (block := coming.result()) is not None:
            last = int(block.entries["chain_position"][-1].as_py())
            coming = reader.submit(_read_block, connection.connection, last, at_once)
            yield block


def _read_block(database: Any, after: int | None, at_once: int) -> _Block | None:
    query = _ENTRIES.format(
        after=after or 0, is_first="true" if after is None else "false", limit=at_once
    )
    entries = _read(database, query, _OF_ENTRY)
    if not entries.num_rows:
        return None
    postings = _read(database, _POSTINGS.format(of_block=_of_block(entries)), _OF_POSTING)
    return _Block(entries, postings)


def _of_block(entries: "pa.Table") -> str:
    """Name the entries of a block: as a range where their ids are dense, which an index walks."""
    ids = [int(text) for text in entries["id"].to_pylist()]
    first, last = min(ids), max(ids)
    if last - first < 4 * len(ids):
        return f"entry_id BETWEEN {first} AND {last}"
    return f"entry_id = ANY('{{{','.join(map(str, ids))}}}')"


def _read(database: Any, query: str, names: tuple[str, ...]) -> "pa.Table":
    """Read rows as text, the way it is sealed."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    text = io.BytesIO()
    with database.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as rows:
        for piece in rows:
            text.write(piece)
    if not text.tell():
        return pa.table({name: pa.array([], pa.string()) for name in names})
    types = dict(zip(names, repeat(pa.string())))
    if "recorded_at" in types:
        types["recorded_at"] = pa.timestamp("us", "UTC")
    text.seek(0)
    table = arrow_csv.read_csv(
        text,
        read_options=arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 26),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True,
            quoted_strings_can_be_null=False, check_utf8=False,
        ),
    )  # fmt: skip
    return _with_instants(table).combine_chunks()


def _with_instants(table: "pa.Table") -> "pa.Table":
    """Write instants as the chain does: "2026-11-02T09:00:00.000000+00:00"."""
    import pyarrow.compute as pc

    if "recorded_at" not in table.column_names:
        return table
    text = table["recorded_at"].cast("timestamp[us]").cast("string")
    text = pc.binary_join_element_wise(
        pc.replace_substring(text, " ", "T", max_replacements=1), "+00:00", ""
    )
    place = table.schema.get_field_index("recorded_at")
    return table.set_column(place, "recorded_at", text)


def _stray_postings(walk: Walk) -> Iterator[Fault]:
    """Find postings of no entry; they are looked for only where postings were left over."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM posting")
        if cursor.fetchone()[0] == walk.posting_count:
            return
        cursor.execute(_STRAY)
        for pk, entry_id in cursor.fetchall():
            yield Fault(f"posting:{pk}", f"belongs to entry {entry_id}, which does not exist")
