"""Give the same credits every period, once for each: the worker's schedule, caught up after a stop.

The database holds what makes it safe: one grant for a rule and period, whoever gives it.
"""

from datetime import datetime
from decimal import Decimal
from functools import partial

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.period import Period
from billing_project.kernel.quantity import LIMIT, plain, round_unrounded
from credits.models import (
    CreditGrant,
    GrantCategory,
    GrantTerms,
    PricingUnit,
    RecurringGrant,
    RecurringUnit,
)
from credits.recurrence import due_periods
from credits.selectors.governing import is_in_force
from credits.services.grants import FARTHEST
from credits.services.terms import issue_under_terms
from metering.models import Customer, Workspace
from metering.selectors.customers import closed_times, was_closed_at
from metering.services.customers import lock_customer, refuse_closed


@transaction.atomic
def create_recurring_grant(
    *,
    customer: Customer,
    terms: GrantTerms,
    pricing_unit: PricingUnit,
    amount: Decimal,
    interval_unit: str,
    interval_count: int = 1,
    start_at: datetime,
    until_at: datetime | None = None,
    workspace: Workspace | None = None,
    reason_code: str,
    source_key: str,
    by: User,
    at: datetime,
    time_zone: str = "",
) -> RecurringGrant:
    """Let a customer have credits every period from an anchor on, in the customer's time zone.

    The same source key and inputs again return the same row. The rule keeps its time zone, wherever
    the customer moves.

    Args:
        amount: Credits a period, > 0.
        interval_unit: "day", "week" or "month"; months keep the anchor's day where there is one.
        until_at: No period begins at or after it; None: until somebody ends the rule.
        time_zone: Of the rule that this one goes on with; "": the customer's.

    Raises:
        Invalid: a value out of its bounds; the error names the field.
        Conflict: the terms are not approved, or the customer is closed.
        IdempotencyConflict: the source key made another rule.
    """
    wanted = RecurringGrant(
        customer=customer, terms=terms, pricing_unit=pricing_unit, amount=amount,
        interval_unit=interval_unit, interval_count=interval_count, start_at=start_at,
        until_at=until_at, workspace=workspace, reason_code=reason_code, source_key=source_key,
        created_by=by, created_at=at, time_zone=time_zone,
    )  # fmt: skip
    _refuse_bad_rule(wanted)
    return _write_rule(wanted)


@transaction.atomic
def end_recurring_grant(
    *, rule: RecurringGrant, until_at: datetime, reason: str, by: User, at: datetime
) -> RecurringGrant:
    """Let no period begin at or after an instant; what was given stays.

    Raises:
        Invalid: no reason, or an end before the rule's start.
        Conflict: the rule ends earlier already.
    """
    if not reason.strip():
        raise Invalid("ending a recurring grant needs its reason", field="reason")
    lock_customer(rule.customer_id)
    locked = RecurringGrant.objects.select_for_update().get(pk=rule.pk)
    if locked.until_at is not None and locked.until_at <= until_at:
        if locked.until_at == until_at:
            return locked
        raise Conflict(f"the rule ends at {locked.until_at.isoformat()} already", field="until_at")
    locked.until_at = max(until_at, locked.start_at)
    locked.save(update_fields=["until_at"])
    audit.record(by=by, at=at, action="end_recurring_grant", subject=locked, reason=reason)
    return locked


def give_recurring_grants(*, by: User, at: datetime) -> int:
    """Give every period of every rule that has begun and has no grant; return how many.

    Run twice at once, or after days of standstill, each period is given once, with the life that
    it would have had. Nothing is given to a closed customer, nor once reopened for the periods that
    began meanwhile.
    """
    rules = RecurringGrant.objects.filter(start_at__lte=at, customer__closed_at=None)
    return each_apart(rules.order_by("pk"), partial(_give, by=by, at=at), step="recurring_grants")


@transaction.atomic
def _give(rule: RecurringGrant, by: User, at: datetime) -> int:
    customer = lock_customer(rule.customer_id)
    rule = RecurringGrant.objects.select_related(
        "terms__policy_change", "pricing_unit", "workspace"
    ).get(pk=rule.pk)
    if customer.closed_at is not None:
        return 0
    waiting = _waiting(rule, at)
    for period in waiting:
        issue_under_terms(
            terms=rule.terms,
            customer=customer,
            amount=rule.amount,
            pricing_unit=rule.pricing_unit,
            reason_code=rule.reason_code,
            source_key=f"recurring_grant:{rule.pk}:{period.start.isoformat()}",
            by=by,
            at=at,
            effective_at=period.start,
            workspace=rule.workspace,
            rule=rule,
            rule_period_at=period.start,
        )
    return len(waiting)


def _waiting(rule: RecurringGrant, at: datetime) -> list[Period]:
    """List the periods that have begun and have no grant.

    None is given for those that began while the customer was closed, or after the terms expired.
    """
    given = set(CreditGrant.objects.filter(rule=rule).values_list("rule_period_at", flat=True))
    closed = closed_times(rule.customer_id)
    return [
        period
        for period in periods_of(rule, at)
        if period.start not in given
        and is_in_force(rule.terms.policy_change, period.start)
        and not was_closed_at(period.start, closed)
    ]


def _write_rule(wanted: RecurringGrant) -> RecurringGrant:
    locked = lock_customer(wanted.customer_id)
    wanted.time_zone = wanted.time_zone or locked.time_zone
    if earlier := RecurringGrant.objects.filter(source_key=wanted.source_key).first():
        if _inputs(earlier) != _inputs(wanted):
            raise IdempotencyConflict(f"{wanted.source_key} made another recurring grant")
        return earlier
    refuse_closed(locked)
    wanted.save(force_insert=True)
    audit.record(
        by=wanted.created_by, at=wanted.created_at, action="create_recurring_grant",
        subject=wanted, reason=wanted.reason_code, amount=plain(wanted.amount),
        terms=str(wanted.terms),
    )  # fmt: skip
    return wanted


def periods_of(rule: RecurringGrant, at: datetime) -> list[Period]:
    """List the periods of a rule that have begun, by its time zone."""
    return due_periods(
        rule.start_at, rule.interval_unit, rule.interval_count, rule.time_zone,
        until=rule.until_at, at=at,
    )  # fmt: skip


def _refuse_bad_rule(rule: RecurringGrant) -> None:
    if not rule.amount.is_finite() or not 0 < rule.amount < LIMIT:
        raise Invalid("an amount is more than 0 and below 10^24 credits", field="amount")
    if round_unrounded(rule.amount) != rule.amount:
        raise Invalid("an amount has at most 12 decimals", field="amount")
    _refuse_bad_rhythm(rule)
    if rule.terms.category == GrantCategory.PAID:
        raise Invalid("paid credits are sold by an invoice, not given by a rule", field="terms")
    if rule.workspace is not None and rule.workspace.customer_id != rule.customer_id:
        raise Invalid("the workspace is not the customer's", field="scope.workspace")
    if not rule.terms.is_pooled and rule.workspace is None:
        raise Invalid(f"{rule.terms} gives credits to one workspace", field="scope.workspace")
    if not rule.reason_code.strip():
        raise Invalid("a recurring grant needs its reason code", field="reason_code")
    change = rule.terms.policy_change
    if change.status != PolicyStatus.APPROVED or not is_in_force(change, rule.start_at):
        raise Conflict(f"{rule.terms} does not govern at the rule's start", field="terms")


def _refuse_bad_rhythm(rule: RecurringGrant) -> None:
    if rule.interval_unit not in RecurringUnit.values or not 0 < rule.interval_count <= 366:
        raise Invalid("a period is 1 to 366 days, weeks or months", field="interval_unit")
    if abs(rule.start_at - rule.created_at) > FARTHEST:
        raise Invalid("a rule starts within ten years of now", field="start_at")
    if rule.until_at is not None and rule.until_at <= rule.start_at:
        raise Invalid("a rule ends after it starts", field="until_at")


def _inputs(rule: RecurringGrant) -> tuple[object, ...]:
    return (
        rule.customer_id, rule.terms_id, rule.pricing_unit_id, rule.amount, rule.interval_unit,
        rule.interval_count, rule.start_at, rule.until_at, rule.workspace_id, rule.reason_code,
    )  # fmt: skip
