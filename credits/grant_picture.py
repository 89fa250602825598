"""What a grant had left over time, as the steps of an SVG; no database, no clock, whole pixels.

Sums of movements by instant go in, a path and a few marks come out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import accumulate

WIDTH, HEIGHT = 720, 160  # Of the drawing; the words around it have their own room.


@dataclass(frozen=True)
class Move:
    """What came (positive) or went at an instant; `kind` where it is worth a mark."""

    at: datetime
    credits: Decimal
    kind: str = ""


@dataclass(frozen=True)
class Mark:
    """A point of the line with its name."""

    x: int
    y: int
    kind: str
    at: datetime


@dataclass(frozen=True)
class Picture:
    """The line, the area below it, and what is marked on it.

    Attributes:
        top: Credits at the upper edge.
        expires_x: Where the grant expires; None where that is not within the picture.
    """

    line: str
    area: str
    marks: tuple[Mark, ...]
    top: Decimal
    start: datetime
    end: datetime
    expires_x: int | None
    width: int = WIDTH
    height: int = HEIGHT


def picture_of(
    moves: Sequence[Move], end: datetime, expires_at: datetime | None = None
) -> Picture | None:
    """Draw what was left as steps, at most one for each pixel.

    Args:
        moves: The oldest first; the line begins with the first one.
        end: The line goes on to here.

    Returns:
        None where nothing moved.
    """
    if not moves:
        return None
    lefts = list(accumulate(move.credits for move in moves))
    start, end, top = moves[0].at, max(end, moves[-1].at), max(lefts)
    levels: dict[int, int] = {}  # The last step of each pixel stands.
    marks = []
    for move, left in zip(moves, lefts, strict=True):
        x, y = _x(move.at, start, end), _y(left, top)
        levels[x] = y
        if move.kind:
            marks.append(Mark(x, y, move.kind, move.at))
    steps = "".join(f"H{x}V{y}" for x, y in levels.items())
    line = f"M0 {HEIGHT}{steps}H{WIDTH}"
    is_within = expires_at is not None and start <= expires_at <= end
    expires_x = _x(expires_at, start, end) if expires_at and is_within else None
    area = f"{line}V{HEIGHT}Z"
    return Picture(line, area, tuple(marks), top, start, end, expires_x)


def _x(at: datetime, start: datetime, end: datetime) -> int:
    return (at - start) * WIDTH // (end - start) if end > start else 0


def _y(left: Decimal, top: Decimal) -> int:
    return HEIGHT - int(left * HEIGHT / top) if top > 0 else HEIGHT
