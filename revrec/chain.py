"""The hash chain of the journal: an entry's sha256 covers it, its postings and the entry before.

Every field is written with its length, so that no two contents share a text; an absent value has a
mark of its own. Entry ids do not take part: the position in the chain does. Which chain an entry
stands in is said by where its chain begins: each legal entity's begins from a hash of its own.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime

Field = str | int | date | datetime | None

GENESIS = "0" * 64  # What the first entry of the main entity names as its predecessor.
VERSION = "journal-1"


def origin(entity: str | None) -> str:
    """Return what the first entry of a legal entity's chain names as its predecessor.

    Args:
        entity: Its code; None for the main entity, whose chain is the oldest.
    """
    if entity is None:
        return GENESIS
    return hashlib.sha256(_written([VERSION, "chain", entity])).hexdigest()


def entry_sha256(previous: str, entry: Iterable[Field], postings: Iterable[Iterable[Field]]) -> str:
    """Return the hash of an entry in hex.

    Args:
        previous: Hash of the entry one position before, or GENESIS.
        entry: The entry's own fields, always in the same order.
        postings: Fields of each posting, by position.
    """
    parts = [_written([VERSION, previous]), _written(entry), *map(_written, postings)]
    return hashlib.sha256(b"".join(_framed(part) for part in parts)).hexdigest()


def _written(fields: Iterable[Field]) -> bytes:
    return b"".join(b"-" if field is None else _framed(_text(field)) for field in fields)


def _framed(content: bytes) -> bytes:
    return b"%d:%s" % (len(content), content)


def _text(field: str | int | date | datetime) -> bytes:
    if isinstance(field, datetime):
        return field.astimezone(UTC).isoformat(timespec="microseconds").encode()
    if isinstance(field, date):
        return field.isoformat().encode()
    return str(field).encode()
