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
