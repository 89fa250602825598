"""Whether a version governs follows from dates alone."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_project.kernel.policy_states import (
    PolicyState,
    Term,
    state_at,
    state_of_parts,
    superseded_from,
)

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL, MAY, JUNE = (datetime(2026, month, 1, tzinfo=UTC) for month in (4, 5, 6))
JUST = timedelta(microseconds=1)


@pytest.mark.parametrize("status", ["draft", "submitted", "rejected", "withdrawn"])
def test_what_is_not_approved_is_what_people_did(status: str) -> None:
    assert state_at(status, Term(MARCH), [], JUNE) == PolicyState(status)


@pytest.mark.parametrize(
    ("at", "state"),
    [
        (MARCH - JUST, PolicyState.APPROVED),
        (MARCH, PolicyState.EFFECTIVE),
        (APRIL - JUST, PolicyState.EFFECTIVE),
        (APRIL, PolicyState.SUPERSEDED),
    ],
)
def test_a_version_governs_from_its_date_until_it_expires(at: datetime, state: PolicyState) -> None:
    assert state_at("approved", Term(MARCH, APRIL), [], at) == state


def test_a_later_version_supersedes_while_it_holds_and_no_longer() -> None:
    later = [Term(APRIL, MAY)]

    states = [state_at("approved", Term(MARCH), later, at) for at in (MARCH, APRIL, MAY)]

    assert states == [PolicyState.EFFECTIVE, PolicyState.SUPERSEDED, PolicyState.EFFECTIVE]


@pytest.mark.parametrize(
    ("later", "state", "until"),
    [
        ([[], []], PolicyState.EFFECTIVE, None),
        ([[Term(APRIL)], []], PolicyState.EFFECTIVE, None),
        ([[Term(APRIL)], [Term(JUNE)]], PolicyState.EFFECTIVE, JUNE),
        ([[Term(APRIL)], [Term(JUNE), Term(MAY)]], PolicyState.SUPERSEDED, MAY),
    ],
)
def test_what_is_about_several_governs_while_it_does_for_one_of_them(
    later: list[list[Term]], state: PolicyState, until: datetime | None
) -> None:
    assert state_of_parts("approved", Term(MARCH), later, MAY) == state
    assert superseded_from(later) == until
