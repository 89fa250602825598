"""Remember, while a run goes on, what only an approval can change.

A run over thousands of customers asks the same of each: which version of a rule is in force. What
is approved never changes again and approvals are only ever added, so that as long as their count
stands, what was read before is what would be read now. The run counts again in each transaction.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from django.db import connection

Found = TypeVar("Found")

_MOST = 10_000  # Answers at once; beyond them all is forgotten.
# Ids alone would miss an approval that commits after a later one; the count sees it.
_STAMP = "SELECT count(*), coalesce(max(id), 0) FROM policy_approval"


class _Memory:
    """Answers, and the approvals that were there before the first of them was read."""

    def __init__(self) -> None:
        self.stamp: tuple[int, int] | None = None
        self.answers: dict[Hashable, Any] = {}


_memory: ContextVar[_Memory | None] = ContextVar("remembering", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Remember answers within this block, as far as `look_again` is called in each transaction."""
    token = _memory.set(_Memory())
    try:
        yield
    finally:
        _memory.reset(token)


def look_again() -> None:
    """Forget all where anything was approved since; call it at the start of each transaction."""
    memory = _memory.get()
    if memory is None:
        return
    with connection.cursor() as cursor:
        cursor.execute(_STAMP)
        stamp = cast(tuple[int, int], cursor.fetchone())
    if stamp != memory.stamp or len(memory.answers) > _MOST:
        memory.stamp, memory.answers = stamp, {}


def remembered(key: Hashable, read: Callable[[], Found]) -> Found:
    """Return the answer that was read under this key before, or read it.

    Only what approvals alone can change may be asked for so. Outside a run nothing is remembered.

    Args:
        key: Names the question and all that its answer depends on; the instant, too.
        read: Its answer is shared: nobody may change it.
    """
    memory = _memory.get()
    if memory is None or memory.stamp is None:
        return read()
    if key not in memory.answers:
        memory.answers[key] = read()
    return cast(Found, memory.answers[key])
