"""What is still open of a billing period's draws and overage, so that corrections can undo it.

Rated usage and ledger transactions go in, in the order in which they were written; what comes out
is newest first. A workspace and meter share one stack: a scoped grant admits both or neither of
two uses of it, so that one may undo the other.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from heapq import merge
from operator import attrgetter

from credits.drawdown import Part, Use

Place = tuple[int | None, str]  # Workspace and meter.
_ZERO = Decimal(0)


@dataclass(frozen=True)
class RatedWindow:
    """The usage window behind a row of rated usage, and how it was rated."""

    id: int
    start_at: datetime
    revision: int
    rate_id: int
    version_id: int


@dataclass
class Unpaid:
    """Overage of one window; `credits` sinks as it is reversed or covered."""

    sequence: int
    window: RatedWindow
    use: Use
    credits: Decimal


@dataclass
class _Drawn:
    grant_id: int
    credits: Decimal


class PeriodHistory:
    """The open draws and the open overage of one customer's billing period."""

    def __init__(self) -> None:
        self._overage: dict[Place, list[Unpaid]] = defaultdict(list)
        self._draws: dict[Place, list[_Drawn]] = defaultdict(list)
        self._sequence = 0

    def add_overage(
        self,
        window: RatedWindow,
        use: Use,
        amount: Decimal,
        *,
        is_cover: bool = False,
    ) -> None:
        """Take up a row's overage: positive adds, negative undoes.

        Args:
            is_cover: The row moves overage of its own window to a grant; otherwise a negative one
                reverses the newest overage of the same place.
        """
        stack = self._overage[_place(use)]
        if amount > 0:
            self._sequence += 1
            stack.append(Unpaid(self._sequence, window, use, amount))
        elif is_cover:
            _sink([row for row in stack if row.window.id == window.id], -amount)
        else:
            _sink(stack, -amount)
        _drop_empty(stack)

    def add_draw(self, use: Use, grant_id: int, amount: Decimal) -> None:
        """Take up a ledger transaction: drawn (negative) adds, returned (positive) undoes."""
        stack = self._draws[_place(use)]
        if amount < 0:
            stack.append(_Drawn(grant_id, -amount))
        else:
            _sink([draw for draw in stack if draw.grant_id == grant_id], amount)
        _drop_empty(stack)

    def overage_at(self, use: Use) -> Decimal:
        """Sum the open overage of the use's workspace and meter."""
        return sum((row.credits for row in self._overage[_place(use)]), _ZERO)

    def draws_at(self, use: Use) -> Iterator[Part]:
        """Yield the open draws of the use's workspace and meter, newest first."""
        for draw in reversed(self._draws[_place(use)]):
            if draw.credits:
                yield Part(draw.grant_id, draw.credits)

    def open_overage(self) -> Iterator[Unpaid]:
        """Yield all open overage of the period, newest first."""
        stacks = [reversed(stack) for stack in self._overage.values()]
        for row in merge(*stacks, key=attrgetter("sequence"), reverse=True):
            if row.credits:
                yield row


def _place(use: Use) -> Place:
    return use.workspace_id, use.meter_code


def _sink(rows: Sequence[Unpaid | _Drawn], amount: Decimal) -> None:
    left = amount
    for row in reversed(rows):
        if not left:
            return
        part = min(left, row.credits)
        row.credits -= part
        left -= part
    assert not left, "nothing is undone twice"


def _drop_empty(stack: list[Unpaid] | list[_Drawn]) -> None:
    while stack and not stack[-1].credits:
        stack.pop()
