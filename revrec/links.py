"""What is wrong with an entry of the hash chain, told from its hashes and its neighbours'.

Pure: the caller reads the entries in the order of their positions and computes the hashes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from revrec.chain import GENESIS


@dataclass(frozen=True)
class Link:
    """One entry as the chain sees it: what it says of itself, and what its content gives."""

    entry_id: int
    position: int
    previous_sha256: str
    entry_sha256: str  # As stored.
    computed_sha256: str  # Of its content and postings, after `previous_sha256`.


@dataclass(frozen=True)
class Head:
    """Where a chain has come to."""

    position: int = 0
    sha256: str = GENESIS


@dataclass(frozen=True)
class Fault:
    """One place where the chain does not hold."""

    subject: str  # "journal_entry:12"
    message: str


def faults_of(
    link: Link, before: Head, next_previous: str | None, after: Callable[[str], str]
) -> Iterator[Fault]:
    """Tell what is wrong with an entry; nothing where all is well.

    Args:
        before: The entry one position before, as stored.
        next_previous: What the entry after names as its predecessor's hash; None at the end.
        after: The entry's hash, were it to follow another hash.
    """
    subject = f"journal_entry:{link.entry_id}"
    if link.position != before.position + 1:
        yield Fault(
            subject,
            f"is at position {link.position}, expected {before.position + 1}:"
            " what stood between is gone, or was moved",
        )
    if link.computed_sha256 != link.entry_sha256:
        yield Fault(subject, _changed(link, before, next_previous, after))
    elif link.previous_sha256 != before.sha256:
        yield Fault(
            subject,
            f"follows {link.previous_sha256}, but the entry before has {before.sha256}",
        )


def _changed(
    link: Link, before: Head, next_previous: str | None, after: Callable[[str], str]
) -> str:
    if next_previous == link.computed_sha256:
        return (
            f"entry_sha256 was changed: it is {link.entry_sha256}, but the content gives"
            f" {link.computed_sha256}, which the next entry follows"
        )
    if link.previous_sha256 != before.sha256 and after(before.sha256) == link.entry_sha256:
        return (
            f"previous_sha256 was changed: it is {link.previous_sha256},"
            f" but the entry was sealed after {before.sha256}"
        )
    return (
        "its fields or its postings are not what was sealed:"
        f" sealed as {link.entry_sha256}, now {link.computed_sha256}"
    )
