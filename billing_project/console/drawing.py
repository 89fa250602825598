"""Where the boxes and curves of a layered graph stand; no database, no clock, whole pixels.

Columns of keys and edges between them go in, positions come out. Boxes of a column are ordered by
their neighbours to the left, so that few curves cross, and each column stands in the middle.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BOX_WIDTH, BOX_HEIGHT = 156, 62
GAP_X, GAP_Y = 34, 12
TOP, BOTTOM = 46, 10  # Room for the columns' titles, and below.


@dataclass(frozen=True)
class Box(Generic[K]):
    """One fact and the upper left corner of its box."""

    key: K
    x: int
    y: int


@dataclass(frozen=True)
class Curve:
    """One edge as the path of an SVG; `is_back` where it runs against the columns."""

    path: str
    is_back: bool


@dataclass(frozen=True)
class Drawing(Generic[K]):
    """A whole graph, laid out."""

    boxes: tuple[Box[K], ...]
    curves: tuple[Curve, ...]
    width: int
    height: int


def draw(columns: Sequence[Sequence[K]], edges: Iterable[tuple[K, K]]) -> Drawing[K]:
    """Lay a graph out by columns.

    Args:
        columns: Keys of each column, each key once; a column may be empty.
        edges: (source, target) of keys that stand in some column; others are left out.

    Returns:
        Boxes column by column from the top; no two overlap.
    """
    pairs = list(edges)
    rows = _ordered(columns, pairs)
    tallest = max((len(keys) for keys in rows), default=0)
    boxes = [
        Box(key, column_x(index), TOP + _offset(tallest, len(keys)) + row * (BOX_HEIGHT + GAP_Y))
        for index, keys in enumerate(rows)
        for row, key in enumerate(keys)
    ]
    at = {box.key: box for box in boxes}
    curves = tuple(_curve(at[a], at[b]) for a, b in pairs if a in at and b in at)
    width = max(len(columns) * (BOX_WIDTH + GAP_X) - GAP_X, 0)
    return Drawing(tuple(boxes), curves, width, TOP + _height(tallest) + BOTTOM)


def column_x(index: int) -> int:
    """Return the left edge of a column."""
    return index * (BOX_WIDTH + GAP_X)


def _ordered(columns: Sequence[Sequence[K]], edges: Sequence[tuple[K, K]]) -> list[list[K]]:
    """Order each column by the mean place of its neighbours in the columns before it."""
    neighbours: dict[K, list[K]] = {}
    for source, target in edges:
        neighbours.setdefault(source, []).append(target)
        neighbours.setdefault(target, []).append(source)
    place: dict[K, Fraction] = {}
    rows: list[list[K]] = []
    for keys in columns:
        means = [_mean([place[n] for n in neighbours.get(key, []) if n in place]) for key in keys]
        order = sorted(range(len(keys)), key=lambda i, m=means: (m[i], i))  # type: ignore[misc]
        rows.append([keys[i] for i in order])
        for i, key in enumerate(rows[-1]):
            place[key] = Fraction(2 * i + 1, 2 * len(keys))
    return rows


def _mean(places: Sequence[Fraction]) -> Fraction:
    """Return the mean place; what has no neighbours to the left stands last."""
    return sum(places, Fraction(0)) / len(places) if places else Fraction(2)


def _offset(tallest: int, count: int) -> int:
    return (_height(tallest) - _height(count)) // 2


def _height(count: int) -> int:
    return max(count * (BOX_HEIGHT + GAP_Y) - GAP_Y, 0)


def _curve(source: Box[K], target: Box[K]) -> Curve:
    """Draw from the right side of the source to the left side of the target."""
    y1, y2 = source.y + BOX_HEIGHT // 2, target.y + BOX_HEIGHT // 2
    is_back = target.x <= source.x
    if source.x == target.x:
        x1 = x2 = source.x + BOX_WIDTH
        bend1 = bend2 = x1 + GAP_X
    elif is_back:
        x1, x2 = source.x, target.x + BOX_WIDTH
        bend1, bend2 = x1 - GAP_X, x2 + GAP_X
    else:
        x1, x2 = source.x + BOX_WIDTH, target.x
        bend1, bend2 = x1 + GAP_X, x2 - GAP_X
    return Curve(f"M{x1} {y1}C{bend1} {y1} {bend2} {y2} {x2} {y2}", is_back)
