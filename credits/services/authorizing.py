"""Let work begin or not, and hold its credits: one decision under the customer's lock.

Everything that the decision reads is read after the lock is taken, and what it holds is written
before the lock goes, so that no two askers are promised the same credit.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import ApiKey
from billing_project.kernel.quantity import plain
from credits.models import Authorization, Hold
from credits.selectors.spending import LimitUse
from credits.services.counting import warn_of_limits
from credits.services.holds import count_settled
from credits.services.standing import Desk, Known, Request, of_one_model
from credits.spend import Ask, Decision, Reason, decide
from metering.models import Customer
from metering.services.customers import lock_customer

_ZERO = Decimal(0)
LONGEST_HOLD = 86_400  # Seconds.


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
    if not 1 <= request.ttl_seconds <= LONGEST_HOLD:
        raise Invalid(f"a hold lasts 1 to {LONGEST_HOLD} seconds", field="ttl_seconds")
    request = of_one_model(request)
    locked = lock_customer(customer.pk)
    count_settled(locked, at)
    known = Desk(locked, request, api_key, at).read()
    decision = decide(known.ask, known.controls, known.standing)
    if known.unpriced:
        decision = Decision(Reason.NO_RATE, decision.available)
    authorization = _written(locked, request, api_key, known, decision, at)
    hold = None
    if decision.is_allowed:
        hold = _held(authorization, known, request.ttl_seconds, at)
        warn_of_limits(locked, known.limits, known.ask.credits, at)
    return Answer(authorization, decision, hold, known.limits)


def _written(
    customer: Customer,
    request: Request,
    api_key: ApiKey | None,
    known: Known,
    decision: Decision,
    at: datetime,
) -> Authorization:
    return Authorization.objects.create(
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


def _held(authorization: Authorization, known: Known, ttl_seconds: int, at: datetime) -> Hold:
    assert known.unit is not None, "what has a price has its unit"
    return Hold.objects.create(
        authorization=authorization,
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
