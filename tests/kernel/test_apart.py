"""One fault stays one fault."""

import logging

import pytest

from billing_project.kernel.apart import each_apart


def test_what_fails_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def act(item: int) -> int:
        assert item != 2, "poison"
        return item

    with caplog.at_level(logging.ERROR):
        done = each_apart([1, 2, 3], act, step="rate")

    assert done == 4
    assert [record.message for record in caplog.records] == ["step_failed"]


def test_failures_do_not_use_up_the_limit() -> None:
    acted: list[int] = []

    def act(item: int) -> int:
        assert item > 2, "poison"
        acted.append(item)
        return 1

    assert each_apart([1, 2, 3, 4, 5], act, step="rate", limit=2) == 2
    assert acted == [3, 4]
