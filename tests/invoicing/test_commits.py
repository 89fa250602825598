"""What is missing from a minimum commit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.money import Money
from invoicing.commits import Commit, is_last_of_term

MINOR = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("counted", "claimed", "left"),
    [
        (0, 0, 87_500),  # Nothing used: all of it.
        (41_250, 0, 46_250),  # 875.00 - 412.50
        (87_500, 0, 0),
        (90_000, 0, 0),  # Used more than the minimum.
        (50_000, 46_250, -8_750),  # 87.50 were used later: 875 - 500 - 462.50
        (41_250, 40_000, 6_250),
    ],
)
def test_what_is_left_is_the_minimum_less_what_counts_and_was_claimed(
    counted: int, claimed: int, left: int
) -> None:
    assert Commit("Minimum", Money(87_500, "USD"), counted, claimed).left_minor == left


def test_the_line_carries_its_arithmetic() -> None:
    line = Commit("Monthly minimum", Money(87_500, "USD"), 41_250).line()

    assert line is not None
    assert line.amount_minor == 46_250
    assert line.description == "Monthly minimum: 875.00 USD less 412.50 USD counted"
    assert Commit("Monthly minimum", Money(87_500, "USD"), 87_500).line() is None
    again = Commit("Monthly minimum", Money(87_500, "USD"), 41_250, 40_000).line()
    assert again is not None
    assert again.description.endswith("less 412.50 USD counted and 400.00 USD claimed before")


@given(minimum=MINOR, counted=MINOR, claimed=MINOR)
def test_a_term_ends_on_the_larger_of_commit_and_usage(
    minimum: int, counted: int, claimed: int
) -> None:
    """Whatever was claimed before, claiming or giving back what is left ends on the maximum."""
    commit = Commit("Minimum", Money(minimum, "USD"), counted, claimed)

    assert counted + claimed + commit.left_minor == max(minimum, counted)


def test_a_term_ends_with_each_of_its_last_periods() -> None:
    assert [is_last_of_term(index, 3) for index in range(7)] == [
        False, False, True, False, False, True, False,
    ]  # fmt: skip
    assert all(is_last_of_term(index, 1) for index in range(3))
