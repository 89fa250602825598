"""Decide whether a piece of work may begin: what it asks for, and what stands, in; a decision out.

Every rule that could refuse is looked at in one order: a retry too many, the model, the ceilings,
the balance. The first that refuses is the reason. What is held for work that goes on counts as
spent, so that any number of askers at once never get more than there is. Knows no tables and no
clock; credits only.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from credits.drawdown import GrantState, Use, draw_down, spend

_ZERO = Decimal(0)
WARN_AT = (50, 80, 90, 100)  # Per cent of a limit.


class Reason(StrEnum):
    """Why work was let begin, or not."""

    ALLOWED = "allowed"
    NO_RATE = "no_rate"
    RETRY_CAP = "retry_cap"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    LIMIT_REACHED = "limit_reached"
    INSUFFICIENT_BALANCE = "insufficient_balance"


class Overdraft(StrEnum):
    """What happens where credits do not reach."""

    OFF = "off"
    CAPPED = "capped"
    ALLOWED = "allowed"


@dataclass(frozen=True)
class Ask:
    """Work that wants to begin.

    Attributes:
        credits: What it is estimated to cost, >= 0.
        parts: The same by meter; a part without a meter is under "". They sum to `credits`.
        place: The hour and workspace of the use; its meter code is not looked at.
    """

    credits: Decimal
    parts: Mapping[str, Decimal]
    place: Use
    workspace: str = ""  # The caller's names; "": none was said.
    model: str = ""
    job: str = ""


@dataclass(frozen=True)
class LimitState:
    """A ceiling, and how far it is used up in the window that the work begins in.

    Attributes:
        ceiling: Credits of the window.
        spent: Rated or settled in the window.
        held: Held for work that goes on.
    """

    code: str
    is_hard: bool
    ceiling: Decimal
    spent: Decimal
    held: Decimal

    @property
    def used(self) -> Decimal:
        """What counts against the ceiling."""
        return self.spent + self.held

    @property
    def left(self) -> Decimal:
        """What more may begin; never below zero."""
        return max(self.ceiling - self.used, _ZERO)

    def percent_with(self, more: Decimal) -> int:
        """Return the highest warning mark that so many credits more reach; 0 below all."""
        total = (self.used + more) * 100
        return max((mark for mark in WARN_AT if total >= mark * self.ceiling), default=0)


@dataclass(frozen=True)
class ModelRule:
    """Which models are for high-value work only, and who may use them.

    Attributes:
        premium: Models that need a reason.
        instead: The cheaper model to name when one is refused.
        workspaces: Names of workspaces that may use premium models.
        jobs: Names of jobs that may.
        ceiling: Anyone may for work that costs no more than this; None: nobody.
    """

    premium: frozenset[str] = frozenset()
    instead: Mapping[str, str] = field(default_factory=dict)
    workspaces: frozenset[str] = frozenset()
    jobs: frozenset[str] = frozenset()
    ceiling: Decimal | None = None

    def admits(self, ask: Ask) -> bool:
        """Tell whether the rule itself lets the model be used."""
        return (
            ask.model not in self.premium
            or ask.workspace in self.workspaces
            or ask.job in self.jobs
            or (self.ceiling is not None and ask.credits <= self.ceiling)
        )


@dataclass(frozen=True)
class Controls:
    """The rules that govern a customer's work.

    Attributes:
        retry_max: How often one request of a job may be asked for in the window; None: no cap.
        overdraft_credits: How far below zero a capped overdraft goes.
    """

    models: ModelRule = ModelRule()
    retry_max: int | None = None
    overdraft: Overdraft = Overdraft.OFF
    overdraft_credits: Decimal = _ZERO


@dataclass(frozen=True)
class Standing:
    """What is known of the customer at the instant of the decision, read under their lock.

    Attributes:
        attempts: How often this request of this job was asked for before, in the window.
        has_exception: Whether somebody approved an exception for this model.
        held: Credits held for work that goes on, and where it will be used.
        grants: What is left of each grant of the pricing unit.
        overdrawn: Credits of this billing period that no grant paid.
    """

    attempts: int
    has_exception: bool
    limits: Sequence[LimitState]
    held: Sequence[tuple[Use, Decimal]]
    grants: Sequence[GrantState]
    order: Sequence[str]
    overdrawn: Decimal = _ZERO


@dataclass(frozen=True)
class Decision:
    """Whether the work may begin, and why.

    Attributes:
        limit: Code of the limit that refused.
        instead: The cheaper model, where the model was refused.
        used_exception: Whether only an exception let the model through.
        available: What the balance has for such work before it begins, overdraft included; None:
            without end.
    """

    reason: Reason
    available: Decimal | None
    limit: str = ""
    instead: str = ""
    used_exception: bool = False

    @property
    def is_allowed(self) -> bool:
        """Tell whether the work may begin."""
        return self.reason == Reason.ALLOWED


def refused_retries(times: Sequence[datetime], most: int, wait: timedelta) -> int:
    """Count the asks of one request that a cap refuses: so many came before, within the wait.

    Args:
        times: When it was asked for, in order; who was refused counts as an ask, too.
    """
    return sum(
        index - bisect_right(times, at - wait, 0, index) >= most for index, at in enumerate(times)
    )


def decide(ask: Ask, controls: Controls, standing: Standing) -> Decision:
    """Decide on one piece of work.

    Returns:
        The first refusal in the order retries, model, limits, balance; or that it may begin.
    """
    available = available_for(ask, controls, standing)
    if controls.retry_max is not None and standing.attempts >= controls.retry_max:
        return Decision(Reason.RETRY_CAP, available)
    is_admitted = controls.models.admits(ask)
    if not is_admitted and not standing.has_exception:
        instead = controls.models.instead.get(ask.model, "")
        return Decision(Reason.MODEL_NOT_ALLOWED, available, instead=instead)
    for limit in standing.limits:
        if limit.is_hard and ask.credits > limit.left:
            return Decision(Reason.LIMIT_REACHED, available, limit=limit.code)
    if not _is_covered(ask, controls, standing):
        return Decision(Reason.INSUFFICIENT_BALANCE, available)
    return Decision(Reason.ALLOWED, available, used_exception=not is_admitted)


def available_for(ask: Ask, controls: Controls, standing: Standing) -> Decimal | None:
    """Return the credits that work at this place could use, beyond what is held already.

    Grants for some meters count where the work uses one of them, each grant once.
    """
    if controls.overdraft == Overdraft.ALLOWED:
        return None
    left, short = _after_holds(standing)
    uses = [_use(ask.place, code) for code in (ask.parts or {"": _ZERO})]
    usable = sum(
        (grant.remaining for grant in left if any(grant.admits(use) for use in uses)), _ZERO
    )
    return max(usable + _overdraft_left(controls, standing) - short, _ZERO)


def _is_covered(ask: Ask, controls: Controls, standing: Standing) -> bool:
    """Tell whether grants, and what overdraft there may be, reach for the work and all holds.

    One way of paying for all of them has to exist, so the sum of what is promised is never more
    than there is; what is held is drawn in the order in which it was asked for.
    """
    if controls.overdraft == Overdraft.ALLOWED or not ask.credits:
        return True
    left, short = _after_holds(standing)
    parts = ((_use(ask.place, code), amount) for code, amount in ask.parts.items())
    uncovered = _draw({grant.id: grant for grant in left}, parts, standing.order)
    return uncovered + short <= _overdraft_left(controls, standing)


def _overdraft_left(controls: Controls, standing: Standing) -> Decimal:
    if controls.overdraft != Overdraft.CAPPED:
        return _ZERO
    return max(controls.overdraft_credits - standing.overdrawn, _ZERO)


def after_holds(
    grants: Iterable[GrantState], held: Iterable[tuple[Use, Decimal]], order: Sequence[str]
) -> tuple[list[GrantState], Decimal]:
    """Draw what is held; return what is left of the grants, and what they did not reach for.

    Args:
        grants: Of one pricing unit.
        held: The oldest first.
    """
    left = {grant.id: grant for grant in grants}
    short = _draw(left, held, order)
    return list(left.values()), short


def _after_holds(standing: Standing) -> tuple[list[GrantState], Decimal]:
    return after_holds(standing.grants, standing.held, standing.order)


def _draw(
    grants: dict[int, GrantState], uses: Iterable[tuple[Use, Decimal]], order: Sequence[str]
) -> Decimal:
    """Draw uses from the grants, which are lowered; return what no grant covered."""
    uncovered = _ZERO
    for use, amount in uses:
        result = draw_down(amount, grants.values(), use, order)
        spend(grants, result.parts)
        uncovered += result.overage
    return uncovered


def _use(place: Use, meter_code: str) -> Use:
    return Use(place.period, place.workspace_id, meter_code)
