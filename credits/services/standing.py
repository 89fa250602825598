"""Read what a decision on work depends on: the rules in force, what it would cost, what stands.

To be read under the customer's lock, in the transaction of the decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import ApiKey
from billing_project.kernel.period import HOUR, Period, hour_of
from credits.drawdown import STRIPE_ORDER, Use
from credits.models import (
    Authorization,
    ControlPolicy,
    CreditGrant,
    ModelException,
    PricingUnit,
    RatedUsage,
)
from credits.selectors.desk_facts import DeskFacts
from credits.selectors.estimates import Estimate, Estimator, unit_of
from credits.selectors.spending import (
    LimitUse,
    Place,
    applies,
    controls_of,
    limit_uses,
)
from credits.selectors.units import pricing_unit_named
from credits.services.counting import bring_up_to_date
from credits.spend import Ask, Controls, Overdraft, Standing
from metering.aggregation import Value, text_of
from metering.models import Customer, Workspace

_ZERO = Decimal(0)
_LONGEST_NAME = 128


@dataclass(frozen=True)
class Request:
    """What work says of itself before it begins.

    Attributes:
        credits: What it will cost; None where `estimate` says what it will use.
        unit: Code of the pricing unit of `credits`; "": that of the customer's plan.
        estimate: Properties of the event to come ({"input_tokens": "1200"}).
        request: The caller's name for one piece of work; the same again is a retry.
    """

    workspace: Workspace | None = None
    model: str = ""
    job: str = ""
    request: str = ""
    credits: Decimal | None = None
    unit: str = ""
    estimate: Mapping[str, Value] = field(default_factory=dict)
    event_name: str = ""
    ttl_seconds: int = 600


@dataclass(frozen=True)
class Known:
    """What was read under the lock."""

    ask: Ask
    unit: PricingUnit | None
    controls: Controls
    policy: ControlPolicy | None
    exception: ModelException | None
    standing: Standing
    limits: list[LimitUse]
    unpriced: str  # Why the work has no price; "" where it has one.


def of_one_model(request: Request) -> Request:
    """Let the model and the job that an estimate says be those that are ruled on.

    Else work would be priced as one model, and let begin as another.

    Raises:
        Invalid: the request says another, or it is no name.
    """
    return replace(
        request, model=_one(request, "model", request.model), job=_one(request, "job", request.job)
    )


def _one(request: Request, name: str, asked: str) -> str:
    priced = text_of(request.estimate[name]) if name in request.estimate else asked
    if asked not in ("", priced):
        raise Invalid(f"the estimate is of {name} {priced}, not {asked}", field="estimate")
    if len(priced) > _LONGEST_NAME:
        raise Invalid(f"{name} has at most {_LONGEST_NAME} characters", field="estimate")
    return priced


class Desk:
    """One request of one customer, and where to look for what decides on it."""

    def __init__(
        self,
        customer: Customer,
        request: Request,
        api_key: ApiKey | None,
        at: datetime,
        facts: DeskFacts,
    ) -> None:
        self._customer, self._request, self._at, self._facts = customer, request, at, facts
        workspace_id = request.workspace.pk if request.workspace else None
        api_key_id = api_key.pk if api_key else None
        self._place = Place(workspace_id, request.model, request.job, api_key_id)
        self._estimator = Estimator(customer, at, facts)

    def read(self) -> Known:
        """Read all of it.

        Raises:
            Invalid: nothing counts what the estimate says, or no unit fits the credits.
        """
        estimate = self._estimate()
        unit = self._facts.units[estimate.unit_id] if estimate.unit_id else None
        ask = self._ask(estimate)
        policy = self._estimator.approved.controls_of(self._customer.pk, self._at)
        controls = controls_of(policy)
        exception = None if controls.models.admits(ask) else self._exception()
        limits = self._limits(unit)
        standing = Standing(
            attempts=self._attempts(policy),
            has_exception=exception is not None,
            limits=[use.state for use in limits],
            held=self._facts.held.get(unit.pk, []) if unit else [],
            grants=self._facts.grants.get(unit.pk, []) if unit else [],
            order=self._order(),
            overdrawn=self._overdrawn(controls),
        )
        return Known(ask, unit, controls, policy, exception, standing, limits, estimate.unpriced)

    def _estimate(self) -> Estimate:
        request = self._request
        if request.credits is not None:
            return Estimate(self._unit_id(), {"": request.credits})
        said = {"model": request.model, "job": request.job}
        properties = {name: value for name, value in said.items() if value} | {**request.estimate}
        return self._estimator.price(properties, self._place.workspace_id, request.event_name)

    def _unit_id(self) -> int:
        if code := self._request.unit:
            named = (pk for pk, unit in self._facts.units.items() if unit.code == code)
            found = next(named, None)
            return pricing_unit_named(code).pk if found is None else found
        granted = CreditGrant.objects.filter(customer=self._customer).order_by()
        units = set(granted.values_list("pricing_unit_id", flat=True).distinct())
        unit_id = unit_of(self._estimator.period, units)
        if unit_id is None:
            raise Invalid(
                "say in which unit the credits are: the customer has several or none",
                field="unit",
            )
        return unit_id

    def _ask(self, estimate: Estimate) -> Ask:
        request = self._request
        hour = Period(hour_of(self._at), hour_of(self._at) + HOUR)
        return Ask(
            estimate.credits,
            estimate.parts,
            Use(hour, self._place.workspace_id, ""),
            request.workspace.external_id if request.workspace else "",
            request.model,
            request.job,
        )

    def _exception(self) -> ModelException | None:
        place = self._place
        return self._estimator.approved.exception_for(
            self._customer.pk, place.workspace_id, place.model, place.job, self._at
        )

    def _limits(self, unit: PricingUnit | None) -> list[LimitUse]:
        limits = [
            limit
            for limit in self._estimator.approved.limits_of(self._customer.pk, self._at)
            if unit is not None and limit.pricing_unit_id == unit.pk and applies(limit, self._place)
        ]
        counters = bring_up_to_date(limits, self._customer, self._at)
        return limit_uses(limits, counters, self._customer, self._place, self._at)

    def _attempts(self, policy: ControlPolicy | None) -> int:
        request = self._request
        if policy is None or policy.retry_seconds is None or not request.request:
            return 0
        since = self._at - timedelta(seconds=policy.retry_seconds)
        return Authorization.objects.filter(
            customer=self._customer, job=request.job, request=request.request, decided_at__gt=since
        ).count()

    def _order(self) -> list[str]:
        rules = self._estimator.rules
        policy = rules.policy_of(hour_of(self._at)) if rules.policies else None
        return policy.burn_order if policy else list(STRIPE_ORDER)

    def _overdrawn(self, controls: Controls) -> Decimal:
        """Sum the overage of the billing period, where a cap asks for it."""
        period = self._estimator.period
        if period is None or controls.overdraft != Overdraft.CAPPED:
            return _ZERO
        rows = RatedUsage.objects.filter(billing_period=period).exclude(overage=0)
        return sum(rows.order_by().values_list("overage", flat=True), _ZERO)
