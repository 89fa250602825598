"""Pay for charges: credits used and grants in; parts of grants and overage out.

The burn order is data, so that a version of it can be approved and named. Corrections go the other
way: the period's overage first, then back to the grants that the credits came from.
Knows no rates and no money.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from billing_project.kernel.period import Period

_ZERO = Decimal(0)
_NEVER = datetime.max.replace(tzinfo=UTC)

# Source: Stripe, billing credits, order of application. Grants that were not bought on their own
# (promotional, goodwill, included) all count as "promotional" here: they burn before paid ones.
STRIPE_ORDER = ("priority", "expiry", "promotional_first", "effective", "created")


@dataclass(frozen=True)
class Use:
    """When and where credits are used: what a grant has to admit."""

    period: Period
    workspace_id: int | None
    meter_code: str


@dataclass(frozen=True)
class GrantState:
    """A grant as the burn order sees it. An empty `meter_codes` admits every meter."""

    id: int
    remaining: Decimal
    priority: int
    is_paid: bool
    effective_at: datetime
    expires_at: datetime | None
    created_at: datetime
    workspace_id: int | None = None
    meter_codes: frozenset[str] = frozenset()

    def admits(self, use: Use) -> bool:
        """Tell whether the use lies in the grant's scope, and its hour touches the grant's life.

        Usage is known by the hour: a grant that was in force for a part of it serves all of it.
        """
        return (
            self.effective_at < use.period.end
            and (self.expires_at is None or use.period.start < self.expires_at)
            and self.workspace_id in (None, use.workspace_id)
            and (not self.meter_codes or use.meter_code in self.meter_codes)
        )


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
    """How much overage is reversed, and which grants get credits back, newest draw first."""

    overage: Decimal
    parts: tuple[Part, ...]

    @property
    def returned(self) -> Decimal:
        """Credits that go back to grants."""
        return sum((part.credits for part in self.parts), _ZERO)


_KEYS: dict[str, Callable[[GrantState], object]] = {
    "priority": lambda grant: grant.priority,
    "expiry": lambda grant: grant.expires_at or _NEVER,
    "promotional_first": lambda grant: grant.is_paid,
    "effective": lambda grant: grant.effective_at,
    "created": lambda grant: grant.created_at,
}
BURN_KEYS = frozenset(_KEYS)


def in_burn_order(
    grants: Iterable[GrantState], order: Sequence[str] = STRIPE_ORDER
) -> list[GrantState]:
    """Sort grants by the named keys; the id decides the rest, so the order is total."""
    keys = [_KEYS[name] for name in order]
    return sorted(grants, key=lambda grant: (*(key(grant) for key in keys), grant.id))


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


def give_back(charge: Decimal, overage: Decimal, draws: Iterable[Part]) -> GiveBack:
    """Undo the newest use first: overage was used last, then drawn credits, newest first.

    Args:
        charge: Credits to undo, > 0; no more than overage and draws together.
        overage: What is open of the overage of the same workspace and meter in the period.
        draws: What is open of its draws, newest first; read only as far as needed.

    Returns:
        Overage and parts, one for each grant; overage + parts == charge exactly.
    """
    reversed_overage = min(charge, overage)
    left = charge - reversed_overage
    parts: dict[int, Decimal] = {}
    for draw in draws:
        if not left:
            break
        part = min(left, draw.credits)
        parts[draw.grant_id] = parts.get(draw.grant_id, _ZERO) + part
        left -= part
    assert not left, "nobody is given back more than was charged"
    return GiveBack(reversed_overage, tuple(Part(*item) for item in parts.items()))


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
