"""Pay for charges: credits used and grants in; parts of grants and overage out.

The burn order is data, so that a version of it can be approved and named. Corrections go the other
way: the period's overage first, then back to the grants that the credits came from.
Knows no rates and no money.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from credits.burn_order import BURN_KEYS, STRIPE_ORDER, in_burn_order
from credits.grant_state import GrantState, Life, Use

__all__ = [
    "BURN_KEYS",
    "STRIPE_ORDER",
    "Drawdown",
    "GiveBack",
    "GrantState",
    "Life",
    "Part",
    "Use",
    "cover_overage",
    "draw_down",
    "give_back",
    "in_burn_order",
    "newest_first",
    "spend",
]
_ZERO = Decimal(0)


@dataclass(frozen=True)
class Part:
    """Credits of one grant; always positive."""

    grant_id: int
    credits: Decimal


@dataclass(frozen=True)
class Drawdown:
    """Which grants paid, in burn order, and what none of them covered."""

    parts: tuple[Part, ...]
    overage: Decimal

    @property
    def drawn(self) -> Decimal:
        """Credits that grants paid."""
        return sum((part.credits for part in self.parts), _ZERO)


@dataclass(frozen=True)
class GiveBack:
    """How much overage is reversed, and which grants get credits back, newest draw first.

    What was forgiven before is forgiven no more: nobody gets it back twice.
    """

    overage: Decimal
    parts: tuple[Part, ...]
    forgiven: Decimal = _ZERO

    @property
    def returned(self) -> Decimal:
        """Credits that go back to grants."""
        return sum((part.credits for part in self.parts), _ZERO)


def draw_down(
    charge: Decimal,
    grants: Iterable[GrantState],
    use: Use,
    order: Sequence[str] = STRIPE_ORDER,
) -> Drawdown:
    """Consume grants in burn order; what they cannot cover is overage.

    Args:
        charge: Credits, >= 0.
        grants: Remaining balances of one pricing unit, any order.
        use: Grants that do not admit it are skipped.
        order: Names of BURN_KEYS, most important first.

    Returns:
        Parts and overage; parts + overage == charge exactly.
    """
    left, parts = charge, []
    if not left:
        return Drawdown((), _ZERO)
    for grant in in_burn_order((g for g in grants if g.admits(use)), order):
        part = min(left, grant.remaining)
        if part > 0:
            parts.append(Part(grant.id, part))
            left -= part
    return Drawdown(tuple(parts), overage=left)


def give_back(
    charge: Decimal,
    overage: Decimal,
    draws: Iterable[Part],
    forgiven: Decimal = _ZERO,
    elsewhere: Decimal = _ZERO,
) -> GiveBack:
    """Undo the newest use first: overage was used last, then drawn credits, newest first.

    Between them comes what credit notes gave back already for the same use.

    Args:
        charge: Credits to undo, > 0; no more than all of it together.
        overage: What is open of the overage of the same workspace and meter in the period.
        draws: What is open of its draws, newest first; read only as far as needed.
        forgiven: What credit notes gave back of the same use, and no correction undid since.
        elsewhere: The same of other use there; undone only where nothing else is left.

    Returns:
        Overage, forgiven and parts, one for each grant; together the charge exactly.
    """
    reversed_overage = min(charge, overage)
    unforgiven = min(charge - reversed_overage, forgiven)
    parts, left = _newest(charge - reversed_overage - unforgiven, draws)
    assert left <= elsewhere, "nobody is given back more than was charged"
    return GiveBack(reversed_overage, parts, unforgiven + left)


def newest_first(amount: Decimal, draws: Iterable[Part]) -> tuple[Part, ...]:
    """Take credits off draws in their order; return one part for each grant.

    Args:
        amount: No more than the draws together.
    """
    parts, left = _newest(amount, draws)
    assert not left, "nobody is given back more than was charged"
    return parts


def _newest(amount: Decimal, draws: Iterable[Part]) -> tuple[tuple[Part, ...], Decimal]:
    """Take credits off draws in their order; return the parts, and what is left to take."""
    left = amount
    parts: dict[int, Decimal] = {}
    for draw in draws:
        if not left:
            break
        part = min(left, draw.credits)
        parts[draw.grant_id] = parts.get(draw.grant_id, _ZERO) + part
        left -= part
    return tuple(Part(*item) for item in parts.items()), left


def cover_overage(
    overages: Iterable[tuple[Decimal, Use]],
    freed: Iterable[GrantState],
    order: Sequence[str] = STRIPE_ORDER,
) -> list[Drawdown]:
    """Let credits that came back pay for what was overage for want of them.

    Args:
        overages: Open overage and its use, newest first; read until nothing is free.
        freed: Grants whose `remaining` is what came back to them just now, not their balance.

    Returns:
        One result for each overage that was read, in the same order.
    """
    grants = {grant.id: grant for grant in freed}
    covered = []
    for charge, use in overages:
        if not any(grant.remaining for grant in grants.values()):
            break
        result = draw_down(charge, grants.values(), use, order)
        spend(grants, result.parts)
        covered.append(result)
    return covered


def spend(grants: dict[int, GrantState], parts: Iterable[Part]) -> None:
    """Lower the remaining credits of the grants that paid."""
    for part in parts:
        grant = grants[part.grant_id]
        grants[part.grant_id] = replace(grant, remaining=grant.remaining - part.credits)
