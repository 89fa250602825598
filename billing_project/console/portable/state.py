"""The state hash: one digest over everything that follows from what came in.

Two installations that say the same of the same customers have the same hash, whatever ids their
rows have and whenever their workers ran. See `state_sql` for what a line says.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from billing_project.console.portable.state_sql import PARTS, Part

VERSION = "billing-state-1"
_ROWS_AT_ONCE = 5_000
_SORTED = 'SELECT line FROM ({query}) AS said (line) ORDER BY line COLLATE "C"'
OnPart = Callable[[str, int], None]  # Which part, and how many lines more.


@dataclass(frozen=True)
class PartHash:
    """What one part comes to."""

    name: str
    lines: int
    sha256: str


@dataclass(frozen=True)
class StateHash:
    """The parts, and one hash over all of them."""

    parts: tuple[PartHash, ...]

    @property
    def sha256(self) -> str:
        """The hash over the version and each part's name, number of lines and hash."""
        said = [VERSION, *(f"{one.name} {one.lines} {one.sha256}" for one in self.parts)]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()

    def differing(self, other: "StateHash") -> list[str]:
        """Name the parts that are not the same."""
        theirs = {one.name: one for one in other.parts}
        return [one.name for one in self.parts if theirs.get(one.name) != one]


def state_hash(on_part: OnPart = lambda name, lines: None) -> StateHash:
    """Hash the derived facts of this database; its caller says on which state it is read."""
    return StateHash(tuple(_hash_of(part, on_part) for part in PARTS))


def as_content(found: StateHash) -> dict[str, Any]:
    """Say a hash as JSON would."""
    return {
        "version": VERSION,
        "sha256": found.sha256,
        "parts": {one.name: {"lines": one.lines, "sha256": one.sha256} for one in found.parts},
    }


def of_content(said: Mapping[str, Any]) -> StateHash:
    """Read what `as_content` said."""
    parts = said["parts"].items()
    return StateHash(tuple(PartHash(name, one["lines"], one["sha256"]) for name, one in parts))


def lines_of(part: Part) -> Iterator[str]:
    """Read a part's lines in the order of their bytes, never all at once."""
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(_SORTED.format(query=part.query))
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            for (line,) in rows:
                yield line


def _hash_of(part: Part, on_part: OnPart) -> PartHash:
    digest, count = hashlib.sha256(), 0
    for line in lines_of(part):
        digest.update(line.encode() + b"\n")
        count += 1
        if count % _ROWS_AT_ONCE == 0:
            on_part(part.name, _ROWS_AT_ONCE)
    on_part(part.name, count % _ROWS_AT_ONCE)
    return PartHash(part.name, count, digest.hexdigest())
