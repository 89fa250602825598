"""Walk the journal's hash chains, each from its first entry on, and tell what is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import connection

from invoicing.models import MAIN_ENTITY
from revrec.chain import origin
from revrec.chain_columns import entries_sha256
from revrec.links import Fault, Head, Link, faults_of
from revrec.selectors.chain_blocks import ENTRIES_AT_ONCE, Block, chain_blocks

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
_STRAY = """
(SELECT 'posting:' || p.id, 'belongs to entry ' || p.entry_id || ', which does not exist'
   FROM posting p WHERE NOT EXISTS (SELECT FROM journal_entry e WHERE e.id = p.entry_id)
  ORDER BY p.id LIMIT 100)
UNION ALL
(SELECT 'journal_entry:' || e.id, 'stands in no chain'
   FROM journal_entry e WHERE NOT EXISTS (SELECT FROM legal_entity y WHERE y.id = e.entity_id)
  ORDER BY e.id LIMIT 100)
"""


@dataclass
class Walk:
    """How far a walk along the chains has come."""

    entry_count: int = 0
    posting_count: int = 0
    # The last entry walked of each legal entity's chain, as stored; where it begins before that.
    heads: dict[str, Head] = field(default_factory=dict)


def chain_faults(walk: Walk | None = None, at_once: int = ENTRIES_AT_ONCE) -> Iterator[Fault]:
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
        return list(cursor.fetchall())


def _faults_of_chain(entity_id: int, code: str, walk: Walk, at_once: int) -> Iterator[Fault]:
    walk.heads[code] = Head(0, origin(None if entity_id == MAIN_ENTITY else code))
    held: Block | None = None  # Judged once the entry after is known.
    for block in chain_blocks(entity_id, at_once):
        if held is not None:
            yield from _faults(held, walk, code, block.previous[0])
        held = block
    if held is not None:
        yield from _faults(held, walk, code, None)


def _faults(block: Block, walk: Walk, code: str, following: str | None) -> Iterator[Fault]:
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


def _links(block: Block, computed: list[str]) -> Iterator[Link]:
    ids = map(int, block.entries["id"].to_pylist())
    yield from map(Link, ids, block.positions, block.previous, block.stored, computed)


class _Resealed:
    """The hash of one entry of a block, were it to follow another hash."""

    def __init__(self, block: Block, number: int) -> None:
        self._block, self._number = block, number

    def __call__(self, previous: str) -> str:
        import pyarrow as pa

        entry = self._block.entries.slice(self._number, 1)
        place = entry.schema.get_field_index("previous_sha256")
        entry = entry.set_column(place, "previous_sha256", pa.array([previous]))
        return entries_sha256(entry, self._block.postings)[0]


def _strays(walk: Walk) -> Iterator[Fault]:
    """Find entries of no chain and postings of no entry; looked for only where some are left."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM journal_entry), count(*) FROM posting")
        if cursor.fetchone() == (walk.entry_count, walk.posting_count):
            return
        cursor.execute(_STRAY)
        for subject, message in cursor.fetchall():
            yield Fault(subject, message)
