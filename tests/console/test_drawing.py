"""Graphs are laid out without overlaps, whatever their columns and edges."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.console.drawing import (
    BOTTOM,
    BOX_HEIGHT,
    BOX_WIDTH,
    GAP_X,
    GAP_Y,
    TOP,
    Drawing,
    column_x,
    draw,
)

# Up to four columns of up to five keys, each key once.
sizes = st.lists(st.integers(0, 5), min_size=1, max_size=4)


def test_one_box_in_each_column_stands_in_one_row() -> None:
    drawing = draw([["event"], ["window"]], [("event", "window")])

    assert [(box.key, box.x, box.y) for box in drawing.boxes] == [
        ("event", 0, TOP),
        ("window", BOX_WIDTH + GAP_X, TOP),
    ]
    assert (drawing.width, drawing.height) == (2 * BOX_WIDTH + GAP_X, TOP + BOX_HEIGHT + BOTTOM)


def test_a_shorter_column_stands_in_the_middle_of_a_taller_one() -> None:
    drawing = draw([["event"], ["a", "b", "c"]], [])
    at = {box.key: box.y for box in drawing.boxes}

    assert at["event"] == at["b"] == TOP + BOX_HEIGHT + GAP_Y


def test_boxes_follow_their_neighbours_so_that_curves_do_not_cross() -> None:
    drawing = draw([["a", "b"], ["of b", "of a"]], [("a", "of a"), ("b", "of b")])

    assert [box.key for box in drawing.boxes] == ["a", "b", "of a", "of b"]


def test_a_curve_starts_at_the_right_side_and_ends_at_the_left_one() -> None:
    (curve,) = draw([["a"], ["b"]], [("a", "b")]).curves

    middle = TOP + BOX_HEIGHT // 2
    assert curve.path.startswith(f"M{BOX_WIDTH} {middle}C")
    assert curve.path.endswith(f" {column_x(1)} {middle}")
    assert not curve.is_back


def test_an_edge_against_the_columns_is_marked() -> None:
    drawing = draw([["grant"], ["line"]], [("line", "grant"), ("line", "line")])

    assert [curve.is_back for curve in drawing.curves] == [True, True]


def test_edges_to_what_is_not_drawn_are_left_out() -> None:
    assert draw([["a"]], [("a", "elsewhere")]).curves == ()


def test_nothing_is_drawn_of_nothing() -> None:
    drawing: Drawing[str] = draw([], [])

    assert drawing.boxes == ()
    assert drawing.width == 0


@settings(max_examples=60, deadline=None)
@given(sizes, st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=12))
def test_every_key_has_one_box_in_its_column_and_no_two_overlap(
    counts: list[int], pairs: list[tuple[int, int]]
) -> None:
    columns = [[5 * column + row for row in range(size)] for column, size in enumerate(counts)]

    drawing = draw(columns, pairs)

    assert {box.key: box.x for box in drawing.boxes} == {
        key: column_x(index) for index, keys in enumerate(columns) for key in keys
    }
    for column in range(len(columns)):
        tops = sorted(box.y for box in drawing.boxes if box.x == column_x(column))
        assert all(b - a >= BOX_HEIGHT + GAP_Y for a, b in pairwise(tops))
    assert all(TOP <= box.y <= drawing.height - BOTTOM - BOX_HEIGHT for box in drawing.boxes)
