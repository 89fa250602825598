"""What proposed limits, rules of the request path and exceptions would have stopped or let in.

Nothing is decided again: what was used, held and asked for since the last month began is compared
with the rule in force and with the proposed one.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Q, Sum

from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.period import Period, midnight, month_of
from credits.drawdown import Use
from credits.models import (
    Authorization,
    CreditGrant,
    Hold,
    HoldState,
    OverdraftMode,
    RatedUsage,
    SpendLimit,
)
from credits.selectors.control_contents import controls_in, limit_in
from credits.selectors.remembered import approved_rules
from credits.selectors.spending import RATED_IN_SCOPE, controls_of, is_asked, window_of
from credits.spend import Ask, Controls, Overdraft, refused_retries
from metering.models import Customer

_ZERO = Decimal(0)
_MOST_ROWS = 200
# Usage of a limit's scope by hour: its windows are made of whole hours.
_BY_HOUR = f"""
SELECT r.service_at, sum(r.charge)
{RATED_IN_SCOPE}
GROUP BY 1
"""


@effect_of("spend_limit")
def _effect_of_limit(change: PolicyChange) -> Effect:
    """Lay the proposed ceiling, and the one in force, on what each window came to."""
    proposed = limit_in(json.loads(change.content))
    customer = proposed.customer
    governing = [
        limit
        for limit in approved_rules().limits_of(customer.pk, change.effective_at)
        if limit.code == proposed.code and limit.policy_change_id != change.pk
    ]
    span = _since_last_month(customer.time_zone, change.proposed_at)
    before = _beyond(governing[0], span) if governing else []
    after = _beyond(proposed, span)
    name, unit = customer.external_id, proposed.pricing_unit.code
    rows = (
        EffectRow(f"Credits of {name} beyond it", customer.pk, _sum(before), _sum(after), unit),
        EffectRow(
            f"Windows in which {name} reached it", customer.pk,
            Decimal(len(before)), Decimal(len(after)), proposed.window,
        ),
    )  # fmt: skip
    word = "refuses" if proposed.mode == "hard" else "warns of"
    basis = f"What was used since {span.start:%Y-%m-%d %H:%M} UTC; it {word} what is beyond"
    return Effect(basis, rows, 1, _grants([customer.pk]))


@effect_of("control_policy")
def _effect_of_controls(change: PolicyChange) -> Effect:
    """Lay the proposed rules, and those in force, on what was asked for and used."""
    content = json.loads(change.content)
    proposed = controls_of(controls_in(content))
    seconds = content["retry_seconds"]
    since = _since_last_month("UTC", change.proposed_at)
    rows: list[EffectRow] = []
    customers = _governed(content, change, since)
    rules = approved_rules()
    policies = {one.pk: rules.controls_of(one.pk, change.effective_at) for one in customers}
    premium = set(content["premium_models"])
    premium.update(name for one in policies.values() if one for name in one.premium_models)
    has_cap = seconds is not None or any(one and one.retry_seconds for one in policies.values())
    asked, overage = _asked(customers, since, premium, has_cap), _overage(customers, since)
    for customer in customers:
        known = policies[customer.pk]
        before = controls_of(known)
        requests, name = asked[customer.pk], customer.external_id
        pairs = [(before, known.retry_seconds if known else None), (proposed, seconds)]
        models = [_refused_models(rules, requests) for rules, _ in pairs]
        retries = [_refused_retries(rules, wait, requests) for rules, wait in pairs]
        unpaid = {
            unit: [_refused_overage(rules, amounts) for rules, _ in pairs]
            for unit, amounts in overage[customer.pk].items()
        }
        figures = [(f"Refused for their model: {name}", models, "request")]
        figures += [(f"Refused as a retry: {name}", retries, "request")]
        figures += [(f"Overage not let begin: {name}", sums, u) for u, sums in unpaid.items()]
        rows += [
            EffectRow(subject, customer.pk, old, new, unit)
            for subject, (old, new), unit in figures
            if old or new
        ]
    rows.sort(key=lambda row: (-abs(row.difference), row.subject))
    basis = (
        f"What was asked for and used since {since.start:%Y-%m-%d %H:%M} UTC; what is used without"
        " asking first is never stopped"
    )
    ids = [customer.pk for customer in customers]
    return Effect(basis, tuple(rows[:_MOST_ROWS]), len(ids), _grants(ids))


@effect_of("model_exception")
def _effect_of_exception(change: PolicyChange) -> Effect:
    """Count the requests that the rule in force refused and the exception would have let in."""
    content = json.loads(change.content)
    customer = Customer.objects.get(external_id=content["customer"])
    since = _since_last_month("UTC", change.proposed_at)
    requests = [
        one
        for one in _asked([customer], since, [content["model"]], has_cap=False)[customer.pk]
        if content["job"] in ("", one.job)
        and content["workspace"] in (None, one.workspace and one.workspace.external_id)
    ]
    rules = controls_of(approved_rules().controls_of(customer.pk, change.effective_at))
    refused = _refused_models(rules, requests)
    row = EffectRow(
        f"Refused for their model: {customer.external_id}", customer.pk, refused, _ZERO, "request"
    )
    basis = (
        f"{len(requests)} requests of this work since {since.start:%Y-%m-%d %H:%M} UTC, by the"
        " rules of the request path in force"
    )
    return Effect(basis, (row,), 1, _grants([customer.pk]))


def _since_last_month(zone: str, at: datetime) -> Period:
    """Return the time from the start of the month before: whole windows, and the present ones."""
    this, _ = month_of(at.date())
    last, _ = month_of(this - timedelta(days=1))
    return Period(midnight(last, zone), at)


def _beyond(limit: SpendLimit, span: Period) -> list[Decimal]:
    """Return by how much each window of a limit that was reached went beyond its ceiling."""
    sums: dict[object, Decimal] = defaultdict(lambda: _ZERO)
    for window, amount in _used_by_window(limit, span):
        sums[window] += amount
    return [total - limit.credits for total in sums.values() if total > limit.credits]


def _used_by_window(limit: SpendLimit, span: Period) -> Iterable[tuple[object, Decimal]]:
    zone = limit.customer.time_zone
    if not is_asked(limit):
        words: dict[str, int | str | datetime | None] = {
            "customer": limit.customer_id, "unit": limit.pricing_unit_id, "model": limit.model,
            "workspace": limit.workspace_id, "start": span.start, "end": span.end,
        }  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute(_BY_HOUR, words)
            hours = cursor.fetchall()
        yield from ((window_of(limit, zone, hour), amount) for hour, amount in hours)
        return
    holds = Hold.objects.filter(
        customer_id=limit.customer_id, pricing_unit_id=limit.pricing_unit_id,
        state__in=[HoldState.SETTLED, HoldState.LAPSED],
        made_at__gte=span.start, made_at__lt=span.end,
    )  # fmt: skip
    scope = {
        "job": limit.job, "model": limit.model,
        "workspace_id": limit.workspace_id, "api_key_id": limit.api_key_id,
    }  # fmt: skip
    holds = holds.filter(**{name: value for name, value in scope.items() if value})
    for job, made_at, amount in holds.values_list("job", "made_at", "credits"):
        window = window_of(limit, zone, made_at)
        if window is not None or job:
            yield window or job, amount


def _governed(content: dict[str, Any], change: PolicyChange, span: Period) -> list[Customer]:
    """List whom proposed rules govern: one customer, or all who have none of their own."""
    if content["customer"] is not None:
        return [Customer.objects.get(external_id=content["customer"])]
    rules = approved_rules()
    own = [
        pk
        for pk in rules.controls
        if pk and (one := rules.controls_of(pk, change.effective_at)) and one.customer_id == pk
    ]
    asked = Authorization.objects.filter(decided_at__gte=span.start)
    owing = RatedUsage.objects.filter(billing_period__end_at__gt=span.start).exclude(overage=0)
    touched = Q(pk__in=asked.values("customer_id")) | Q(pk__in=owing.values("customer_id"))
    return list(Customer.objects.filter(touched).exclude(pk__in=own))


def _asked(
    customers: Collection[Customer], span: Period, models: Collection[str], has_cap: bool
) -> dict[int, list[Authorization]]:
    """Read the requests that rules of these models, or a cap of retries, could refuse."""
    found: dict[int, list[Authorization]] = defaultdict(list)
    is_touched = Q(model__in=models)
    if has_cap:
        is_touched |= ~Q(request="")
    rows = Authorization.objects.filter(
        is_touched, customer__in=customers, decided_at__gte=span.start, decided_at__lt=span.end
    ).select_related("workspace")
    for one in rows.defer("estimate", "limits", "detail").order_by("decided_at", "pk"):
        found[one.customer_id].append(one)
    return found


def _refused_models(rules: Controls, requests: Iterable[Authorization]) -> Decimal:
    asks = (_ask(one) for one in requests if one.exception_id is None)
    return Decimal(sum(not rules.models.admits(ask) for ask in asks))


def _refused_retries(
    rules: Controls, seconds: int | None, requests: Iterable[Authorization]
) -> Decimal:
    if rules.retry_max is None or seconds is None:
        return _ZERO
    times: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for one in requests:
        if one.request:
            times[one.job, one.request].append(one.decided_at)
    wait = timedelta(seconds=seconds)
    return Decimal(sum(refused_retries(asked, rules.retry_max, wait) for asked in times.values()))


def _ask(one: Authorization) -> Ask:
    hour = Period(one.decided_at, one.decided_at + timedelta(hours=1))
    workspace = one.workspace.external_id if one.workspace else ""
    use = Use(hour, one.workspace_id, "")
    return Ask(one.credits, {}, use, workspace, one.model, one.job)


def _overage(customers: Collection[Customer], span: Period) -> dict[int, dict[str, list[Decimal]]]:
    """Return the overage of each billing period that the span touches, by customer and unit."""
    found: dict[int, dict[str, list[Decimal]]] = defaultdict(lambda: defaultdict(list))
    rows = RatedUsage.objects.filter(
        billing_period__customer__in=customers, billing_period__end_at__gt=span.start
    ).exclude(overage=0)
    sums = rows.order_by("billing_period_id").values_list(
        "customer_id", "billing_period__rate_card__pricing_unit__code", "billing_period_id"
    )
    for customer_id, unit, _, overage in sums.annotate(Sum("overage")):
        found[customer_id][unit].append(overage)
    return found


def _refused_overage(rules: Controls, amounts: Iterable[Decimal]) -> Decimal:
    """Sum what periods owe beyond what may be overdrawn in each."""
    if rules.overdraft == Overdraft(OverdraftMode.ALLOWED):
        return _ZERO
    cap = rules.overdraft_credits if rules.overdraft == Overdraft.CAPPED else _ZERO
    return _sum(amount - cap for amount in amounts if amount > cap)


def _grants(customer_ids: Collection[int]) -> int:
    return CreditGrant.objects.filter(customer_id__in=customer_ids, remaining__gt=0).count()


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, _ZERO)
