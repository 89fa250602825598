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
