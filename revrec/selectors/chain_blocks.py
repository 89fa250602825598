"""The journal's hash chains as text, in blocks that never fill the memory.

PostgreSQL copies a block's rows out while the block before is parsed and hashed, so that database
and caller have a core each. The reader's thread and the caller take turns on one connection: a
caller's own transaction is what is read.
"""

import io
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from select import select
from typing import TYPE_CHECKING, Any

from django.db import OperationalError, connection
from psycopg.pq import ExecStatus

from revrec.chain_columns import SEALED_IF_TOLD, SEALED_OF_ENTRY, SEALED_OF_POSTING
from revrec.models import AccountingPeriod

if TYPE_CHECKING:
    import pyarrow as pa

ENTRIES_AT_ONCE = 8_000  # Smaller ones overlap better, much smaller ones cost more each.
# Where the next block ends, and which ids its entries have.
_BOUNDS = """
SELECT max(b.chain_position), min(b.id), max(b.id), count(*)
  FROM (SELECT chain_position, id FROM journal_entry
         WHERE entity_id = {entity} AND {after} ORDER BY chain_position LIMIT {limit}) b
"""
_ENTRIES = """
SELECT id, entry_sha256, previous_sha256, chain_position, period_id, effective_on, kind,
       description, customer_id, posting_count, reverses_id, source_key, recorded_at,
       recorded_by_id
  FROM journal_entry WHERE {of_block} ORDER BY chain_position
"""
_POSTINGS = """
SELECT entry_id, position, account_id, amount_minor, currency, customer_id, obligation_id,
       invoice_line_id, service_start_on, service_end_on, functional_minor, functional_currency,
       model
  FROM posting WHERE {of_block} ORDER BY entry_id, position
"""
_OF_ENTRY = ("id", "entry_sha256", "previous_sha256", *SEALED_OF_ENTRY)
_OF_POSTING = ("entry_id", *SEALED_OF_POSTING, *SEALED_IF_TOLD)
_IDS = {"id", "entry_id"}
# Columns whose cells hardly repeat; of the others each text is framed once a block.
_DISTINCT = {
    "entry_sha256", "previous_sha256", "chain_position", "description", "source_key",
    "amount_minor", "functional_minor",
}  # fmt: skip


@dataclass(frozen=True)
class _Bounds:
    """Where a block ends, and which ids its entries have."""

    last: int
    first_id: int
    last_id: int
    count: int

    @property
    def has_every_id(self) -> bool:
        """Whether no id between the first and the last is another entry's, or nobody's."""
        return self.last_id - self.first_id + 1 == self.count

    @property
    def is_dense(self) -> bool:
        """Whether few ids between the first and the last are others'."""
        return self.last_id - self.first_id < 4 * self.count


@dataclass(frozen=True)
class Block:
    """Entries of one chain that follow one another, with their postings, as they were read."""

    bounds: _Bounds
    entries_text: io.BytesIO
    postings_text: io.BytesIO
    months: Mapping[str, str]  # First days by the ids of periods.

    @cached_property
    def entries(self) -> "pa.Table":
        """The entries, each with the month that it is in."""
        table = _parsed(self.entries_text, _OF_ENTRY)
        return _with_instants(_with_months(table, self.months))

    @cached_property
    def postings(self) -> "pa.Table":
        """The postings of its entries, by entry and position; others' may be among them."""
        return _parsed(self.postings_text, _OF_POSTING)

    @cached_property
    def positions(self) -> list[int]:
        """The place of each entry in the chain."""
        found: list[int] = self.entries["chain_position"].cast("int64").to_pylist()
        return found

    @cached_property
    def previous(self) -> list[str]:
        """What each entry says that it follows."""
        found: list[str] = self.entries["previous_sha256"].to_pylist()
        return found

    @cached_property
    def stored(self) -> list[str]:
        """The hash that each entry says it has."""
        found: list[str] = self.entries["entry_sha256"].to_pylist()
        return found

    @property
    def posting_count(self) -> int:
        """How many postings its entries have."""
        import pyarrow.compute as pc

        if self.bounds.has_every_id:
            return int(self.postings.num_rows)
        of_others = pc.index_in(self.postings["entry_id"], self.entries["id"].combine_chunks())
        return int(self.postings.num_rows - of_others.null_count)


def chain_blocks(entity_id: int, at_once: int) -> Iterator[Block]:
    """Read block after block of a legal entity's chain, each while the caller has the one before.

    Args:
        at_once: Entries of a block.
    """
    connection.ensure_connection()
    months = {
        f"{pk}": f"{day}" for pk, day in AccountingPeriod.objects.values_list("pk", "start_on")
    }
    read = partial(_read_block, connection.connection.pgconn, months, entity_id, at_once)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(read, block.bounds.last)
            yield block


def _read_block(
    line: Any, months: Mapping[str, str], entity_id: int, at_once: int, after: int | None
) -> Block | None:
    beyond = "true" if after is None else f"chain_position > {after}"
    query = _BOUNDS.format(entity=entity_id, after=beyond, limit=at_once)
    told = _copied(line, query).getvalue().decode().strip().split(",")
    if not told[0]:
        return None
    bounds = _Bounds(*map(int, told))
    these = f"entity_id = {entity_id} AND {beyond} AND chain_position <= {bounds.last}"
    ids = f"entry_id BETWEEN {bounds.first_id} AND {bounds.last_id}"
    if not bounds.is_dense:
        ids = f"entry_id IN (SELECT id FROM journal_entry WHERE {these})"  # noqa: S608 - numbers
    entries = _copied(line, _ENTRIES.format(of_block=these))
    return Block(bounds, entries, _copied(line, _POSTINGS.format(of_block=ids)), months)


def _parsed(text: io.BytesIO, names: tuple[str, ...]) -> "pa.Table":
    """Read rows as text, the way it is sealed; ids as numbers."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    types = {name: _type_of(name) for name in names}
    if not text.tell():
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})
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
    return table.combine_chunks()


def _type_of(name: str) -> Any:
    import pyarrow as pa

    if name in _IDS:
        return pa.int64()
    return pa.string() if name in _DISTINCT else pa.dictionary(pa.int32(), pa.string())


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


def _with_months(table: "pa.Table", months: Mapping[str, str]) -> "pa.Table":
    """Write the month of each entry in the place of its period; none where there is no such."""
    import pyarrow as pa

    column = table["period_start_on"].combine_chunks()
    days = pa.array([months.get(pk) for pk in column.dictionary.to_pylist()], pa.string())
    place = table.schema.get_field_index("period_start_on")
    found = pa.DictionaryArray.from_arrays(column.indices, days)
    return table.set_column(place, "period_start_on", found)


def _with_instants(table: "pa.Table") -> "pa.Table":
    """Write instants as the chain does: "2026-11-02T09:00:00.000000+00:00"."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table["recorded_at"].combine_chunks()
    text = column.dictionary.cast(pa.timestamp("us", "UTC")).cast("timestamp[us]").cast("string")
    day, time = pc.utf8_slice_codeunits(text, 0, 10), pc.utf8_slice_codeunits(text, 11)
    text = pc.binary_join_element_wise(pc.binary_join_element_wise(day, time, "T"), "+00:00", "")
    place = table.schema.get_field_index("recorded_at")
    instants = pa.DictionaryArray.from_arrays(column.indices, text)
    return table.set_column(place, "recorded_at", instants)
