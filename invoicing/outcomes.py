"""How an outcome is decided on, and what that does to what it earns. Pure.

An outcome is pending until it is decided on. Only an accepted one earns its price and is billed;
once it is on an issued invoice, only a credit note takes it back.
"""

from enum import StrEnum


class State(StrEnum):
    """What was last decided on an outcome."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DISPUTED = "disputed"


# What may be decided from each state; a rejection is final.
FOLLOWING = {
    State.PENDING: (State.ACCEPTED, State.REJECTED, State.DISPUTED),
    State.ACCEPTED: (State.DISPUTED, State.REJECTED),
    State.DISPUTED: (State.ACCEPTED, State.REJECTED),
    State.REJECTED: (),
}


class NotDecidable(ValueError):
    """A decision that cannot follow on the last one."""


def refuse_undecidable(before: State, after: State) -> None:
    """Check that a decision may follow.

    Raises:
        NotDecidable: with what may be decided instead.
    """
    if after in FOLLOWING[before]:
        return
    allowed = " or ".join(FOLLOWING[before]) or "nothing any more"
    raise NotDecidable(f"an outcome that is {before} can become {allowed}, not {after}")


def earned_change(before: State, after: State, price_minor: int) -> int:
    """Return what a decision adds to what an outcome earns, in minor units: +-price, or nothing.

    Over all decisions the changes sum to the price if the last one accepts it, else to nothing.
    """
    return price_minor * ((after == State.ACCEPTED) - (before == State.ACCEPTED))
