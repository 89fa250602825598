"""What is still open of a billing period's draws and overage, so that corrections can undo it.

Rated usage and ledger transactions go in, in the order in which they were written; what comes out
is newest first. Each charge is on one stack, over which its rate accumulates: no correction asks
back more than the rows of its stack came to.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from heapq import merge
from operator import attrgetter

from credits.drawdown import Part, Use

# Rate where it pools the account, workspace where it does not, and meter.
Stack = tuple[int | None, int | None, str]
# Workspace, key of the dimensions: what a line of an invoice, and a note on it, is about.
Place = tuple[int | None, str]
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
    stack: Stack
    window: RatedWindow
    use: Use
    credits: Decimal


@dataclass
class Drawn:
    """What one draw took of a grant; `credits` sinks as it is returned."""

    sequence: int
    stack: Stack
    grant_id: int
    credits: Decimal


class PeriodHistory:
    """The open draws and the open overage of one customer's billing period."""

    def __init__(self) -> None:
        self._overage: dict[Stack, list[Unpaid]] = defaultdict(list)
        self._draws: dict[Stack, list[Drawn]] = defaultdict(list)
        self._forgiven: dict[Stack, dict[Place, Decimal]] = defaultdict(dict)
        self._sequence = 0

    def add_overage(
        self,
        stack: Stack,
        window: RatedWindow,
        use: Use,
        amount: Decimal,
        *,
        is_cover: bool = False,
    ) -> None:
        """Take up a row's overage: positive adds, negative undoes.

        Args:
            is_cover: The row moves overage of its own window to a grant; otherwise a negative one
                reverses the newest overage of the same stack.
        """
        rows = self._overage[stack]
        if amount > 0:
            self._sequence += 1
            rows.append(Unpaid(self._sequence, stack, window, use, amount))
        elif is_cover:
            _sink([row for row in rows if row.window.id == window.id], -amount)
        else:
            _sink(rows, -amount)
        _drop_empty(rows)

    def add_draw(self, stack: Stack, grant_id: int, amount: Decimal) -> None:
        """Take up a ledger transaction: drawn (negative) adds, returned (positive) undoes."""
        draws = self._draws[stack]
        if amount < 0:
            self._sequence += 1
            draws.append(Drawn(self._sequence, stack, grant_id, -amount))
        else:
            _sink([draw for draw in draws if draw.grant_id == grant_id], amount)
        _drop_empty(draws)

    def add_forgiven(self, stack: Stack, place: Place, amount: Decimal) -> None:
        """Take up what a credit note gave back (positive), or a correction or void undid.

        What is undone beyond its own place comes off the others, the first ones first.
        """
        places = self._forgiven[stack]
        if amount > 0:
            places[place] = places.get(place, _ZERO) + amount
        left = max(-amount, _ZERO)
        for name in (place, *(other for other in places if other != place)) if left else ():
            part = min(left, places.get(name, _ZERO))
            if part:
                places[name] -= part
                left -= part
        assert not left, "nothing is forgiven less than not at all"

    def forgiven_at(self, stack: Stack, place: Place) -> Decimal:
        """Return what of a stack is forgiven at a place."""
        return self._forgiven[stack].get(place, _ZERO)

    def forgiven_elsewhere(self, stack: Stack, place: Place) -> Decimal:
        """Return what of a stack is forgiven at other places."""
        return sum(self._forgiven[stack].values(), _ZERO) - self.forgiven_at(stack, place)

    def overage_at(self, stack: Stack) -> Decimal:
        """Sum the open overage of a stack."""
        return sum((row.credits for row in self._overage[stack]), _ZERO)

    def draws_at(self, stack: Stack) -> Iterator[Part]:
        """Yield the open draws of a stack, newest first."""
        for draw in reversed(self._draws[stack]):
            if draw.credits:
                yield Part(draw.grant_id, draw.credits)

    def draws_of(self, stacks: Iterable[Stack]) -> Iterator[Drawn]:
        """Yield the open draws of several stacks together, newest first."""
        draws = [reversed(self._draws[stack]) for stack in stacks]
        for draw in merge(*draws, key=attrgetter("sequence"), reverse=True):
            if draw.credits:
                yield draw

    def open_overage(self) -> Iterator[Unpaid]:
        """Yield all open overage of the period, newest first."""
        stacks = [reversed(stack) for stack in self._overage.values()]
        for row in merge(*stacks, key=attrgetter("sequence"), reverse=True):
            if row.credits:
                yield row


def _sink(rows: Sequence[Unpaid | Drawn], amount: Decimal) -> None:
    left = amount
    for row in reversed(rows):
        if not left:
            return
        part = min(left, row.credits)
        row.credits -= part
        left -= part
    assert not left, "nothing is undone twice"


def _drop_empty(stack: list[Unpaid] | list[Drawn]) -> None:
    while stack and not stack[-1].credits:
        stack.pop()
