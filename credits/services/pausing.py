"""Pause a recurring grant and go on later in the same rhythm.

A pause is formal: the rule ends, and a rule that continues it begins with a later period. What was
given stays, and no period of the pause is given after the fact.
"""

from datetime import datetime
from itertools import count

from django.db import transaction

from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from credits.models import CreditGrant, RecurringGrant
from credits.recurrence import nth_start
from credits.services.grants import FARTHEST
from credits.services.recurring import create_recurring_grant, end_recurring_grant


@transaction.atomic
def pause_recurring_grant(
    *, rule: RecurringGrant, from_at: datetime, resume_at: datetime, reason: str, by: User,
    at: datetime,
) -> RecurringGrant:  # fmt: skip
    """Give no period that begins from an instant until another; return the rule that goes on.

    The rule that goes on ends when this one would have.

    Raises:
        Invalid: no reason, or it goes on before it stops.
        Conflict: the rule ends before that already.
    """
    if resume_at <= from_at:
        raise Invalid("a pause ends after it begins", field="resume_at")
    until_at = RecurringGrant.objects.get(pk=rule.pk).until_at
    ended = end_recurring_grant(rule=rule, until_at=from_at, reason=reason, by=by, at=at)
    return resume_recurring_grant(
        rule=ended, from_at=resume_at, until_at=until_at, reason=reason, by=by, at=at
    )


@transaction.atomic
def resume_recurring_grant(
    *, rule: RecurringGrant, from_at: datetime, until_at: datetime | None = None, reason: str,
    by: User, at: datetime,
) -> RecurringGrant:  # fmt: skip
    """Go on with a rule that has ended, with its first period at or after an instant.

    Each rule goes on once; what goes on can be ended and go on again. Months are counted anew from
    where it goes on.

    Raises:
        Invalid: no reason, before the rule ended, with a period that it gave, or too far ahead.
        Conflict: the rule has no end, its customer is closed, or its terms do not govern then.
        IdempotencyConflict: it went on from another period.
    """
    if not reason.strip():
        raise Invalid("going on needs its reason", field="reason")
    ended = RecurringGrant.objects.select_related("customer", "terms__policy_change").get(
        pk=rule.pk
    )
    if ended.until_at is None:
        raise Conflict(f"{ended} has no end: there is nothing to resume")
    if from_at < ended.until_at:
        raise Invalid(f"it runs until {ended.until_at.isoformat()}", field="from_at")
    if from_at > at + FARTHEST:
        raise Invalid("a rule goes on within ten years", field="from_at")
    start_at = next_start(ended, from_at)
    given = CreditGrant.objects.filter(rule=ended, rule_period_at__gte=start_at)
    if last := given.order_by("rule_period_at").last():
        assert last.rule_period_at is not None, "selected by it"
        said = last.rule_period_at.isoformat()
        raise Invalid(f"its period from {said} was given before it ended", field="from_at")
    return create_recurring_grant(
        customer=ended.customer, terms=ended.terms, pricing_unit=ended.pricing_unit,
        amount=ended.amount, interval_unit=ended.interval_unit,
        interval_count=ended.interval_count, start_at=start_at,
        until_at=until_at, workspace=ended.workspace, reason_code=ended.reason_code,
        source_key=continuation_key(ended), by=by, at=at, time_zone=ended.time_zone,
    )  # fmt: skip


def next_start(rule: RecurringGrant, at: datetime) -> datetime:
    """Return when the first period of a rule's rhythm at or after an instant begins."""
    starts = (
        nth_start(rule.start_at, rule.interval_unit, rule.interval_count, index, rule.time_zone)
        for index in count()
    )
    return next(start for start in starts if start >= at)


def continuation_key(rule: RecurringGrant) -> str:
    """Name the one rule that may go on with a rule."""
    return f"recurring_grant:{rule.pk}:resumed"


def continuation_of(rule: RecurringGrant) -> RecurringGrant | None:
    """Return the rule that went on with a rule; None if none did yet."""
    return RecurringGrant.objects.filter(source_key=continuation_key(rule)).first()
