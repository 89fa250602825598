"""How outcomes are decided on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.outcomes import FOLLOWING, NotDecidable, State, earned_change, refuse_undecidable


@pytest.mark.parametrize(
    ("before", "after", "is_allowed"),
    [
        (State.PENDING, State.ACCEPTED, True),
        (State.PENDING, State.REJECTED, True),
        (State.PENDING, State.DISPUTED, True),
        (State.ACCEPTED, State.DISPUTED, True),
        (State.ACCEPTED, State.REJECTED, True),
        (State.DISPUTED, State.ACCEPTED, True),
        (State.REJECTED, State.ACCEPTED, False),
        (State.REJECTED, State.DISPUTED, False),
        (State.ACCEPTED, State.PENDING, False),
        (State.ACCEPTED, State.ACCEPTED, False),
    ],
)
def test_decisions_follow_one_another(before: State, after: State, is_allowed: bool) -> None:
    if is_allowed:
        refuse_undecidable(before, after)
    else:
        with pytest.raises(NotDecidable, match=f"an outcome that is {before}"):
            refuse_undecidable(before, after)


def test_the_refusal_says_what_can_be_decided() -> None:
    with pytest.raises(NotDecidable, match="can become nothing any more, not accepted"):
        refuse_undecidable(State.REJECTED, State.ACCEPTED)


@given(choices=st.lists(st.integers(0, 2), max_size=12), price=st.integers(1, 10**9))
def test_decisions_earn_the_price_if_the_last_one_accepts(choices: list[int], price: int) -> None:
    state, earned = State.PENDING, 0
    for choice in choices:
        following = FOLLOWING[state]
        if not following:
            break
        after = following[choice % len(following)]
        earned += earned_change(state, after, price)
        state = after

        assert earned == (price if state == State.ACCEPTED else 0)
