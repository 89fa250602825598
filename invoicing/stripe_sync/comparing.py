"""Compare what Stripe has with what we have, both ways. Pure: facts in, differences out."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from billing_project.kernel.money import Money

FINANCE, ENGINEERING = "finance", "engineering"


@dataclass(frozen=True)
class Thing:
    """A payment, refund, dispute or fee on one side; `state` is "" where it plays no part."""

    amount: Money
    state: str = ""

    def __str__(self) -> str:
        return f"{self.amount} {self.state}".strip()


@dataclass(frozen=True)
class Found:
    """One difference; empty text on the side that lacks it.

    Attributes:
        owner: The function that answers for it.
    """

    kind: str
    subject: str
    here: str
    there: str
    owner: str


def compare(
    name: str,
    here: Mapping[str, Thing],
    there: Mapping[str, Thing],
    elsewhere: Container[str] = frozenset(),
) -> Iterator[Found]:
    """Yield differences of things of one name ("payment"), by Stripe's ids, in their order.

    What only Stripe has although we asked for it lost its effect: engineering looks. What was made
    elsewhere, such as at Stripe's dashboard, what only we have, and amounts are about money:
    finance.

    Args:
        elsewhere: Ids of what nobody here asked for.
    """
    for pk in sorted({*here, *there}):
        ours, theirs = here.get(pk), there.get(pk)
        subject = f"{name} {pk}"
        if ours is None:
            owner = FINANCE if pk in elsewhere else ENGINEERING
            yield Found("only_there", subject, "", str(theirs), owner)
        elif theirs is None:
            yield Found("only_here", subject, str(ours), "", FINANCE)
        elif ours.amount != theirs.amount:
            yield Found("amount", subject, str(ours.amount), str(theirs.amount), FINANCE)
        elif ours.state != theirs.state:
            yield Found("state", subject, ours.state, theirs.state, ENGINEERING)


def unexplained(moves: Mapping[str, Thing], sources: Mapping[str, str], known: set[str]) -> (
    Iterator[Found]
):  # fmt: skip
    """Yield movements of the balance that no payment, refund or dispute stands behind.

    Args:
        sources: What each movement is about, by its id.
        known: Ids of things that were compared.
    """
    for pk in sorted(moves):
        if sources[pk] not in known:
            yield Found("only_there", f"movement {pk}", "", str(moves[pk]), FINANCE)
