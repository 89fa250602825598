"""Walk the journal's hash chains, each from its first entry on, in blocks of bounded size.

PostgreSQL copies a block's rows out as text while the block before is hashed; the reader's thread
and the caller take turns on one connection, so that a caller's own transaction is what is read.
"""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from select import select
from typing import TYPE_CHECKING, Any

from django.db import OperationalError, connection
from psycopg.pq import ExecStatus

from invoicing.models import MAIN_ENTITY
from revrec.chain import origin
from revrec.chain_columns import (
    SEALED_IF_TOLD,
    SEALED_OF_ENTRY,
    SEALED_OF_POSTING,
    entries_sha256,
)
from revrec.links import Fault, Head, Link, faults_of

if TYPE_CHECKING:
    import pyarrow as pa

_ENTRIES_AT_ONCE = 16_000
_ENTRIES = """
SELECT e.id, e.entry_sha256, e.previous_sha256, e.chain_position, p.start_on, e.effective_on,
       e.kind, e.description, e.customer_id, e.posting_count, e.reverses_id, e.source_key,
       e.recorded_at, e.recorded_by_id
  FROM journal_entry e LEFT JOIN accounting_period p ON p.id = e.period_id
 WHERE e.entity_id = {entity} AND (e.chain_position > {after} OR {is_first})
 ORDER BY e.chain_position LIMIT {limit}
"""
# Legal entities, and whatever else entries say of themselves, read by the index of the chains.
_CHAINS = """
WITH RECURSIVE named AS (
    (SELECT entity_id FROM journal_entry ORDER BY entity_id LIMIT 1)
    UNION ALL
    SELECT (SELECT j.entity_id FROM journal_entry j WHERE j.entity_id > n.entity_id
             ORDER BY j.entity_id LIMIT 1)
      FROM named n WHERE n.entity_id IS NOT NULL)
SELECT coalesce(n.entity_id, y.id), y.code
  FROM (SELECT entity_id FROM named WHERE entity_id IS NOT NULL) n
  FULL JOIN legal_entity y ON y.id = n.entity_id ORDER BY 1
"""
_POSTINGS = """
SELECT entry_id, position, account_id, amount_minor, currency, customer_id, obligation_id,
       invoice_line_id, service_start_on, service_end_on, functional_minor, functional_currency
  FROM posting WHERE {of_block} ORDER BY entry_id, position
"""
_STRAY = """
(SELECT 'posting:' || p.id, 'belongs to entry ' || p.entry_id || ', which does not exist'
   FROM posting p WHERE NOT EXISTS (SELECT FROM journal_entry e WHERE e.id = p.entry_id)
  ORDER BY p.id LIMIT 100)
UNION ALL
(SELECT 'journal_entry:' || e.id, 'stands in no chain'
   FROM journal_entry e WHERE NOT EXISTS (SELECT FROM legal_entity y WHERE y.id = e.entity_id)
  ORDER BY e.id LIMIT 100)
"""
_OF_ENTRY = ("id", "entry_sha256", "previous_sha256", *SEALED_OF_ENTRY)
# Columns whose cells hardly repeat; of the others each text is framed once a block.
_DISTINCT = {
    "id", "entry_id", "entry_sha256", "previous_sha256", "chain_position", "description",
    "source_key", "amount_minor", "functional_minor",
}  # fmt: skip
_OF_POSTING = ("entry_id", *SEALED_OF_POSTING, *SEALED_IF_TOLD)


@dataclass
class Walk:
    """How far a walk along the chains has come."""

    entry_count: int = 0
    posting_count: int = 0
    # The last entry walked of each legal entity's chain, as stored; where it begins before that.
    heads: dict[str, Head] = field(default_factory=dict)


class _Block:
    """Entries that follow one another, with their postings."""

    def __init__(self, entries: "pa.Table", postings: "pa.Table") -> None:
        self.entries, self.postings = entries, postings
        self.positions: list[int] = entries["chain_position"].cast("int64").to_pylist()
        self.previous: list[str] = entries["previous_sha256"].to_pylist()
        self.stored: list[str] = entries["entry_sha256"].to_pylist()

    @property
    def posting_count(self) -> int:
        """Postings of its entries; those of others may be read along."""
        import pyarrow.compute as pc

        of_others = pc.index_in(self.postings["entry_id"], self.entries["id"]).null_count
        return int(self.postings.num_rows - of_others)


def chain_faults(walk: Walk | None = None, at_once: int = _ENTRIES_AT_ONCE) -> Iterator[Fault]:
    """Recompute every chain; yield what is wrong by position, then stray entries and postings.

    Ask the database nothing else until the walk is over: it reads ahead on the connection.

    Args:
        walk: Told how far the walk has come.
        at_once: Entries of a block.
    """
    walk = walk or Walk()
    for entity_id, code in _chains():
        if code is None:
            yield Fault(f"legal_entity:{entity_id}", "has a chain of entries and does not exist")
        else:
            yield from _faults_of_chain(entity_id, code, walk, at_once)
    yield from _strays(walk)


def _chains() -> list[tuple[int, str | None]]:
    """List whose chains there are: legal entities, and those that entries name beside them."""
    with connection.cursor() as cursor:
        cursor.execute(_CHAINS)
        return cursor.fetchall()


def _faults_of_chain(entity_id: int, code: str, walk: Walk, at_once: int) -> Iterator[Fault]:
    walk.heads[code] = Head(0, origin(None if entity_id == MAIN_ENTITY else code))
    held: _Block | None = None  # Judged once the entry after is known.
    for block in _blocks(entity_id, at_once):
        if held is not None:
            yield from _faults(held, walk, code, block.previous[0])
        held = block
    if held is not None:
        yield from _faults(held, walk, code, None)


def _faults(block: "_Block", walk: Walk, code: str, following: str | None) -> Iterator[Fault]:
    before, computed = walk.heads[code], entries_sha256(block.entries, block.postings)
    count = len(block.stored)
    walk.entry_count += count
    walk.posting_count += block.posting_count
    walk.heads[code] = Head(block.positions[-1], block.stored[-1])
    is_well = (
        computed == block.stored
        and block.previous == [before.sha256, *block.stored[:-1]]
        and block.positions == list(range(before.position + 1, before.position + 1 + count))
    )
    if is_well:
        return
    names = [*block.previous[1:], following]
    for number, link in enumerate(_links(block, computed)):
        yield from faults_of(link, before, names[number], _Resealed(block, number))
        before = Head(link.position, link.entry_sha256)


def _links(block: "_Block", computed: list[str]) -> Iterator[Link]:
    ids = map(int, block.entries["id"].to_pylist())
    yield from map(Link, ids, block.positions, block.previous, block.stored, computed)


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


def _blocks(entity_id: int, at_once: int) -> Iterator[_Block]:
    """Read block after block, each while the one before is with the caller."""
    connection.ensure_connection()
    line = connection.connection
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(_read_block, line, entity_id, None, at_once)
        while (block := coming.result()) is not None:
            coming = reader.submit(_read_block, line, entity_id, block.positions[-1], at_once)
            yield block


def _read_block(database: Any, entity_id: int, after: int | None, at_once: int) -> _Block | None:
    query = _ENTRIES.format(
        entity=entity_id,
        after=after or 0,
        is_first="true" if after is None else "false",
        limit=at_once,
    )
    entries = _read(database, query, _OF_ENTRY)
    if not entries.num_rows:
        return None
    postings = _read(database, _POSTINGS.format(of_block=_of_block(entries)), _OF_POSTING)
    return _Block(entries, postings)


def _of_block(entries: "pa.Table") -> str:
    """Name the entries of a block: as a range where their ids are dense, which an index walks."""
    ids = entries["id"].cast("int64").to_pylist()
    first, last = min(ids), max(ids)
    if last - first < 4 * len(ids):
        return f"entry_id BETWEEN {first} AND {last}"
    return f"entry_id = ANY('{{{','.join(map(str, ids))}}}')"


def _read(database: Any, query: str, names: tuple[str, ...]) -> "pa.Table":
    """Read rows as text, the way it is sealed."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    text = _copied(database.pgconn, query)
    if not text.tell():
        return pa.table({name: pa.array([], pa.string()) for name in names})
    repeated = pa.dictionary(pa.int32(), pa.string())
    types = {name: pa.string() if name in _DISTINCT else repeated for name in names}
    text.seek(0)
    table = arrow_csv.read_csv(
        text,
        read_options=arrow_csv.ReadOptions(
            column_names=names, use_threads=False, block_size=1 << 26
        ),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True,
            quoted_strings_can_be_null=False, check_utf8=False,
        ),
    )  # fmt: skip
    return _with_instants(table).combine_chunks()


def _copied(line: Any, query: str) -> io.BytesIO:
    """Copy rows out over libpq itself: a cursor costs more for each row than all that follows."""
    answer = line.exec_(f"COPY ({query}) TO STDOUT (FORMAT csv)".encode())
    if answer.status != ExecStatus.COPY_OUT:
        raise OperationalError(answer.error_message.decode())
    text = io.BytesIO()
    while True:
        count, piece = line.get_copy_data(1)
        if count > 0:
            text.write(piece)
        elif count == 0:  # Wait here, where other threads may run; libpq would not let them.
            select([line.socket], [], [])
            line.consume_input()
        else:
            break
    while answer := line.get_result():
        if answer.status != ExecStatus.COMMAND_OK:
            raise OperationalError(answer.error_message.decode())
    return text


def _with_instants(table: "pa.Table") -> "pa.Table":
    """Write instants as the chain does: "2026-11-02T09:00:00.000000+00:00"."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "recorded_at" not in table.column_names:
        return table
    column = table["recorded_at"].combine_chunks()
    text = column.dictionary.cast(pa.timestamp("us", "UTC")).cast("timestamp[us]").cast("string")
    day, time = pc.utf8_slice_codeunits(text, 0, 10), pc.utf8_slice_codeunits(text, 11)
    text = pc.binary_join_element_wise(pc.binary_join_element_wise(day, time, "T"), "+00:00", "")
    place = table.schema.get_field_index("recorded_at")
    instants = pa.DictionaryArray.from_arrays(column.indices, text)
    return table.set_column(place, "recorded_at", instants)


def _strays(walk: Walk) -> Iterator[Fault]:
    """Find entries of no chain and postings of no entry; looked for only where some are left."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM journal_entry), count(*) FROM posting")
        if cursor.fetchone() == (walk.entry_count, walk.posting_count):
            return
        cursor.execute(_STRAY)
        for subject, message in cursor.fetchall():
            yield Fault(subject, message)
