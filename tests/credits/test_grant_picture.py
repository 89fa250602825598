"""The line of what a grant had left: steps in whole pixels, whatever it went through."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from credits.grant_picture import HEIGHT, WIDTH, Mark, Move, picture_of

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def moves(*said: tuple[int, str, str]) -> list[Move]:
    return [Move(START + hours * HOUR, Decimal(amount), kind) for hours, amount, kind in said]


def test_a_grant_without_entries_has_no_picture() -> None:
    assert picture_of([], START) is None


def test_the_line_steps_down_with_each_use() -> None:
    # 720 pixels over 10 hours: one hour is 72. 160 pixels for 100 credits: 25 credits are 40.
    picture = picture_of(
        moves((0, "100", "granted"), (5, "-25", ""), (10, "-75", "")), START + 10 * HOUR
    )

    assert picture is not None
    assert picture.line == f"M0 {HEIGHT}H0V0H360V40H720V160H{WIDTH}"
    assert picture.area == f"{picture.line}V{HEIGHT}Z"
    assert picture.marks == (Mark(0, 0, "granted", START),)
    assert picture.top == 100


def test_the_line_goes_on_until_now_and_marks_the_end() -> None:
    picture = picture_of(
        moves((0, "100", "granted"), (5, "-100", "expired")), START + 10 * HOUR, START + 5 * HOUR
    )

    assert picture is not None
    assert (picture.expires_x, picture.end) == (360, START + 10 * HOUR)
    assert [(mark.x, mark.kind) for mark in picture.marks] == [(0, "granted"), (360, "expired")]


def test_an_end_to_come_is_not_on_the_picture() -> None:
    picture = picture_of(moves((0, "1", "granted")), START + HOUR, START + 2 * HOUR)

    assert picture is not None
    assert picture.expires_x is None


def test_many_moves_are_one_step_a_pixel() -> None:
    many = [Move(START, Decimal(10_000)), *moves(*((0, "-1", ""),) * 9_999)]
    spread = [Move(one.at + n * HOUR, one.credits) for n, one in enumerate(many)]

    picture = picture_of(spread, START + 10_000 * HOUR)

    assert picture is not None
    assert picture.line.count("H") <= WIDTH + 2


def test_a_grant_that_begins_later_is_a_point() -> None:
    picture = picture_of(moves((5, "10", "granted")), START)

    assert picture is not None
    assert (picture.start, picture.end) == (START + 5 * HOUR, START + 5 * HOUR)
