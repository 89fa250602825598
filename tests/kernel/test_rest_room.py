"""Room for bodies: a budget that threads share."""

import threading

import pytest

from billing_project.kernel.rest.room import MAX_PARTS, Crowded, Room, TooManyParts, weigh


def test_small_bodies_weigh_nothing() -> None:
    assert weigh(b"{" * 1000) == 0


def test_a_body_weighs_by_its_length_and_its_parts() -> None:
    assert weigh(b"x" * 100_000 + b",[{") == 8 * 100_003 + 96 * 3


def test_a_body_of_nothing_but_parts_is_refused() -> None:
    with pytest.raises(TooManyParts):
        weigh(b"," * (MAX_PARTS + 1))


def test_who_finds_no_room_waits_until_somebody_leaves() -> None:
    room = Room(100)
    first = room.enter(80)
    threading.Timer(0.05, room.leave, [first]).start()

    assert room.enter(50) == 50


def test_what_outweighs_everything_goes_alone_and_others_are_sent_away() -> None:
    room = Room(100)

    assert room.enter(1000) == 100
    with pytest.raises(Crowded):
        room.enter(1)
    room.leave(100)
    assert room.enter(1) == 1
