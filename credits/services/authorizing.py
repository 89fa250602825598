"""Let work begin or not, and hold its credits: one decision under the customer's lock.

Everything that the decision reads is read after the lock is taken, and what it holds is written
before the lock goes, so that no two askers are promised the same credit.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import ApiKey
from billing_project.kernel.prepared import run_prepared
from billing_project.kernel.quantity import plain
from credits.models import Authorization, Hold
from credits.selectors.desk_facts import DeskFacts, read_desk_facts
from credits.selectors.spending import LimitUse
from credits.services.counting import warn_of_limits
from credits.services.holds import count_settled
from credits.services.standing import Desk, Known, Request, of_one_model
from credits.spend import Ask, Decision, Reason, decide
from metering.models import Customer
from metering.services.customers import lock_customer

_ZERO = Decimal(0)
LONGEST_HOLD = 86_400  # Seconds.
_DECIDED = (
    "customer_id", "workspace_id", "api_key_id", "model", "job", "request", "estimate",
    "pricing_unit_id", "credits", "is_allowed", "reason", "detail", "limits", "control_policy_id",
    "exception_id", "decided_at",
)  # fmt: skip
_HELD = (
    "key", "customer_id", "workspace_id", "api_key_id", "model", "job", "pricing_unit_id",
    "credits", "parts", "state", "ttl_seconds", "made_at", "expires_at", "identifier",
    "ended_at", "counted_at",
)  # fmt: skip
_DECIDE = f"""
INSERT INTO spend_authorization ({", ".join(_DECIDED)})
VALUES ({", ".join(f"%(a_{name})s" for name in _DECIDED)}) RETURNING id
"""  # noqa: S608 - names of this module
_DECIDE_AND_HOLD = f"""
WITH decided AS ({_DECIDE})
INSERT INTO hold (authorization_id, {", ".join(_HELD)})
VALUES ((SELECT id FROM decided), {", ".join(f"%(h_{name})s" for name in _HELD)})
RETURNING authorization_id, id
"""  # noqa: S608 - names of this module


@dataclass(frozen=True)
class Answer:
    """A decision as it was stored, and what it was based on."""

    authorization: Authorization
    decision: Decision
    hold: Hold | None
    limits: list[LimitUse]


@transaction.atomic
def authorize(
    *, customer: Customer, request: Request, api_key: ApiKey | None, at: datetime
) -> Answer:
    """Decide whether work may begin; hold its credits if it may.

    Every decision is kept, refusals too. Asking twice makes two holds: the caller's idempotency key
    tells a repeat.

    Raises:
        Invalid: nothing counts what the estimate says, it is of another model or job than the
            request, or no unit fits the credits.
    """
    locked = lock_customer(customer.pk)
    return authorize_locked(customer=locked, request=request, api_key=api_key, at=at)


def authorize_locked(
    *, customer: Customer, request: Request, api_key: ApiKey | None, at: datetime
) -> Answer:
    """Do what `authorize` does, for a customer that the caller has locked in its transaction."""
    if not 1 <= request.ttl_seconds <= LONGEST_HOLD:
        raise Invalid(f"a hold lasts 1 to {LONGEST_HOLD} seconds", field="ttl_seconds")
    request = of_one_model(request)
    known = Desk(customer, request, api_key, at, _facts(customer, request, at)).read()
    decision = decide(known.ask, known.controls, known.standing)
    if known.unpriced:
        decision = Decision(Reason.NO_RATE, decision.available)
    authorization = _authorization(customer, request, api_key, known, decision, at)
    hold = None
    if decision.is_allowed:
        hold = _hold(authorization, known, request.ttl_seconds, at)
    _store(authorization, hold)
    if hold is not None:
        warn_of_limits(customer, known.limits, known.ask.credits, at)
    return Answer(authorization, decision, hold, known.limits)


def _facts(customer: Customer, request: Request, at: datetime) -> DeskFacts:
    """Read what stands, once holds whose events have come are settled."""
    place = request.workspace.pk if request.workspace else None
    facts = read_desk_facts(customer, place, at)
    if not facts.has_named_holds:
        return facts
    count_settled(customer, at)
    return read_desk_facts(customer, place, at)


def _authorization(
    customer: Customer,
    request: Request,
    api_key: ApiKey | None,
    known: Known,
    decision: Decision,
    at: datetime,
) -> Authorization:
    return Authorization(
        customer=customer,
        workspace=request.workspace,
        api_key=api_key,
        model=request.model,
        job=request.job,
        request=request.request,
        estimate={name: str(value) for name, value in request.estimate.items()},
        pricing_unit=known.unit,
        credits=known.ask.credits,
        is_allowed=decision.is_allowed,
        reason=decision.reason,
        detail=sentence(decision, known.ask, known.unpriced),
        limits=[use.document() for use in known.limits],
        control_policy=known.policy,
        exception=known.exception if decision.used_exception else None,
        decided_at=at,
    )


def _hold(authorization: Authorization, known: Known, ttl_seconds: int, at: datetime) -> Hold:
    assert known.unit is not None, "what has a price has its unit"
    return Hold(
        key=f"hold_{secrets.token_hex(12)}",
        customer_id=authorization.customer_id,
        workspace_id=authorization.workspace_id,
        api_key_id=authorization.api_key_id,
        model=authorization.model,
        job=authorization.job,
        pricing_unit=known.unit,
        credits=known.ask.credits,
        parts={code: plain(amount) for code, amount in known.ask.parts.items()},
        ttl_seconds=ttl_seconds,
        made_at=at,
        expires_at=at + timedelta(seconds=ttl_seconds),
    )


def _store(authorization: Authorization, hold: Hold | None) -> None:
    """Insert a decision, and its hold if it has one, in one statement; give them their ids."""
    words = {f"a_{name}": _plain(getattr(authorization, name)) for name in _DECIDED}
    if hold is None:
        ((authorization.pk,),) = run_prepared(_DECIDE, words)
        return
    words |= {f"h_{name}": _plain(getattr(hold, name)) for name in _HELD}
    ((authorization.pk, hold.pk),) = run_prepared(_DECIDE_AND_HOLD, words)
    hold.authorization = authorization


def _plain(value: object) -> object:
    """Return a column's value as the database takes it."""
    if isinstance(value, str):
        return str(value)  # A member of an enumeration would travel by its name.
    return json.dumps(value) if isinstance(value, dict | list) else value


def sentence(decision: Decision, ask: Ask, unpriced: str) -> str:
    """Say in words why work may not begin; "" where it may."""
    match decision.reason:
        case Reason.ALLOWED:
            return ""
        case Reason.NO_RATE:
            return unpriced
        case Reason.RETRY_CAP:
            return "this request of this job was asked for too often"
        case Reason.MODEL_NOT_ALLOWED:
            better = f"; use {decision.instead}" if decision.instead else ""
            return f"{ask.model} is for named workspaces and jobs only{better}"
        case Reason.LIMIT_REACHED:
            return f"{plain(ask.credits)} credits are more than limit {decision.limit} has left"
    left = plain(decision.available if decision.available is not None else _ZERO)
    return f"{plain(ask.credits)} credits are asked for, {left} are available"
