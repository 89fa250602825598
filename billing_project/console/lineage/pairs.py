"""What a step of the walk yields: two facts, what happened between them, and when."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

# A worker reads its clock once, before it reads the windows: what it rates may be learnt a little
# after the instant that it writes down.
CLOCK_SLACK = timedelta(minutes=1)


class Pair(NamedTuple):
    """`target` came out of `source`."""

    source: int
    target: int
    label: str
    at: datetime | None = None  # When the event was learnt, or the rated usage made.


# By usage window. On the way after: when the first fact that led to it was learnt; what came of the
# window earlier did not come of that fact. On the way before: when the last thing that came of it
# was made; what was learnt later had no part in it. A window without an instant has no bound.
Times = Mapping[int, datetime]
Follow = Callable[[Sequence[int], int, Times], list[Pair]]  # Facts, most pairs, bounds.

_PAIRS_OF_A_FACT = 5  # A fact feeds a few others (one event, three meters).


def most_of(limit: int) -> int:
    """Return how many pairs to ask for at once, so that one fact more than the limit is among them.

    Args:
        limit: Most facts that are shown of one kind, >= 1.
    """
    return limit * _PAIRS_OF_A_FACT + 1


def few_of(most: int) -> int:
    """Return how many facts show that there are more than the limit, by the most pairs."""
    return most // _PAIRS_OF_A_FACT + 1
