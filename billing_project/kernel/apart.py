"""Do the same for many, each apart: one that fails does not hold up the others."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

log = logging.getLogger(__name__)
Item = TypeVar("Item")


def each_apart(
    items: Iterable[Item], act: Callable[[Item], int], *, step: str, limit: int | None = None
) -> int:
    """Act on each item in a transaction of its own; log failures and go on.

    This is a task's edge, the one place that catches everything: a fault in one customer's data
    must not stop the chain for all. What failed keeps its note or its state, so that the next run
    tries again and `check_books` can find it.

    Args:
        act: Returns how much it did; opens its own transaction.
        step: Name of the step for the log ("rate").
        limit: Stop after so many that went well; failures do not use it up, so that those who
            always fail cannot crowd out the others.

    Returns:
        The sum of what was done.
    """
    done = well = 0
    for item in items:
        if well == limit:
            break
        try:
            done += act(item)
            well += 1
        except Exception:  # The edge of a task: see above.
            log.exception("step_failed", extra={"step": step, "item": str(item)})
    return done
