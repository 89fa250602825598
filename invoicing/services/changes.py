"""Change what a customer has: another plan, a pause, an end; each a fact from an instant on.

A change is written once and decides what opens next. One at once cuts the running period; its
effects on fee and credits follow in the same transaction. One that is due later waits for `renew`,
and can be undone until then.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.period import HOUR
from credits.models import BillingPeriod
from credits.selectors.governing import is_in_force
from credits.services.periods import end_billing_period, last_rated_hour
from invoicing.models import ChangeKind, PlanVersion, Subscription, SubscriptionChange
from invoicing.phases import Moment, Standing
from invoicing.selectors import plan_version_at
from invoicing.selectors.changes import (
    coming,
    last_period,
    phase_of,
    standing_changes,
    steps_of,
)
from invoicing.services.locks import require_permission
from invoicing.services.openings import credit_unused, lock_subscription, open_begun
from metering.models import Customer
from metering.services.customers import lock_customer, refuse_closed

FARTHEST = timedelta(days=3653)
_LONGEST_KEY = 120
_OF_STANDING = (ChangeKind.TRIAL, ChangeKind.PAUSE, ChangeKind.RESUME)


@dataclass(frozen=True)
class Asked:
    """One change as somebody wants it.

    Attributes:
        when: At once, at the end of the running period, or at an instant to come.
        credits_unused: Whether what was paid ahead for days after it is given back.
        key: The caller's idempotency key.
    """

    kind: ChangeKind
    when: Moment | datetime
    reason: str
    key: str
    plan_version: PlanVersion | None = None
    credits_unused: bool = True


@transaction.atomic
def change_subscription(
    *, subscription: Subscription, asked: Asked, by: User, at: datetime
) -> SubscriptionChange:
    """Write a change and let it take effect, or wait until it does; the same again is the same row.

    At once means at `at`, or where usage ahead of the clock is rated already, when its hour ends.
    A period that is cut by it is credited by the day for what was claimed ahead, and the rest of it
    is opened under what holds then. Granted credits stay as they are.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no reason, a bad key, or an instant that is past or too far away.
        IdempotencyConflict: the key changed something else before.
        Conflict: the subscription's state does not admit it; the message says what stands in the
            way.
    """
    require_permission(by, "invoicing.manage_subscription", "change subscriptions")
    refuse_unreadable(asked, at)
    customer = lock_customer(subscription.customer_id)
    earlier = SubscriptionChange.objects.filter(source_key=asked.key).first()
    if earlier is not None:
        return _same(earlier, subscription, asked)
    locked = lock_subscription(subscription)
    open_begun(locked, by=by, at=at)
    effective_at = effective_time(locked, asked.when, at)
    refuse_unfit(locked, customer, asked, effective_at)
    change = _write(locked, asked, effective_at, by, at)
    if asked.kind == ChangeKind.CANCEL:
        _end(locked, effective_at)
    _follow(locked, by, at)
    outbox.publish("money_changed", [customer.pk], at)
    audit.record(
        by=by, at=at, action="change_subscription", subject=locked, reason=asked.reason,
        kind=asked.kind.value, change=change.pk, effective_at=effective_at.isoformat(),
        plan=str(asked.plan_version or ""),
    )  # fmt: skip
    return change


@transaction.atomic
def undo_change(
    *, change: SubscriptionChange, reason: str, by: User, at: datetime
) -> SubscriptionChange:
    """Take back a change before it takes effect; again, it is the same row.

    Raises:
        Invalid: no reason.
        Conflict: it took effect, or a later change builds on it.
    """
    require_permission(by, "invoicing.manage_subscription", "change subscriptions")
    if not reason.strip():
        raise Invalid("undoing a change needs its reason", field="reason")
    lock_customer(change.subscription.customer_id)
    locked = lock_subscription(change.subscription)
    change = SubscriptionChange.objects.select_for_update().get(pk=change.pk)
    if change.undone_at is not None:
        return change
    open_begun(locked, by=by, at=at)
    _refuse_undoing(locked, change, at)
    change.undone_at, change.undone_by, change.undo_reason = at, by, reason
    change.save(update_fields=["undone_at", "undone_by", "undo_reason"])
    if change.kind == ChangeKind.CANCEL:
        _end(locked, None)
    _follow(locked, by, at)
    audit.record(
        by=by, at=at, action="undo_subscription_change", subject=locked, reason=reason,
        change=change.pk,
    )  # fmt: skip
    return change


@transaction.atomic
def end_subscription(
    *, subscription: Subscription, ends_at: datetime, reason: str, by: User, at: datetime
) -> Subscription:
    """Let a subscription end with one of its periods; the same again changes nothing.

    Raises:
        Invalid: no reason, or an end too far away.
        Conflict: another end is set, or `ends_at` is no bound of a period that is not begun.
    """
    if not reason.strip():
        raise Invalid("ending a subscription needs its reason")
    lock_customer(subscription.customer_id)
    locked = lock_subscription(subscription)
    if locked.ends_at == ends_at:
        return locked
    if locked.ends_at is not None:
        raise Conflict(f"this subscription ends at {locked.ends_at.isoformat()} already")
    if ends_at > at + FARTHEST:
        raise Invalid("a subscription ends within ten years")
    _refuse_inside_a_period(locked, ends_at)
    key = f"subscription:{locked.pk}:end:{standing_changes(locked).count()}:{ends_at.isoformat()}"
    _write(locked, Asked(ChangeKind.CANCEL, ends_at, reason, key), ends_at, by, at)
    _end(locked, ends_at)
    audit.record(by=by, at=at, action="end_subscription", subject=locked, reason=reason)
    return locked


def governing(version: PlanVersion, customer: Customer, start_at: datetime) -> PlanVersion:
    """Read a version as it was decided, and refuse one that cannot be sold here and then."""
    version = PlanVersion.objects.select_related(
        "plan", "policy_change", "rate_card__pricing_unit"
    ).get(pk=version.pk)
    change = version.policy_change
    if change.status != PolicyStatus.APPROVED or not is_in_force(change, start_at):
        raise Conflict(f"{version} does not govern at {start_at.isoformat()}")
    if version.customer_id not in {None, customer.pk}:
        raise Conflict(f"{version} are another customer's own terms")
    if version.currency != customer.currency:
        raise Conflict(f"{version} is sold in {version.currency}, not in {customer.currency}")
    return version


def refuse_unreadable(asked: Asked, at: datetime) -> None:
    """Refuse what is no change whatever the subscription's state."""
    if not asked.reason.strip():
        raise Invalid("changing a subscription needs its reason", field="reason")
    if not 0 < len(asked.key) <= _LONGEST_KEY:
        raise Invalid(f"a change's key has 1 to {_LONGEST_KEY} characters")
    if asked.kind == ChangeKind.TRIAL:
        raise Invalid("a trial is sold with its subscription", field="kind")
    if isinstance(asked.when, datetime) and not at < asked.when <= at + FARTHEST:
        raise Invalid("a change takes effect after now, and within ten years", field="when")
    if isinstance(asked.when, datetime) and asked.kind == ChangeKind.CANCEL:
        raise Invalid("a subscription is cancelled now or at its period's end", field="when")


def effective_time(subscription: Subscription, when: Moment | datetime, at: datetime) -> datetime:
    """Return the instant from which a change asked for at `at` holds.

    Raises:
        Conflict: no period runs that could be cut or waited for.
    """
    if isinstance(when, datetime):
        return when
    running = _running(subscription, at)
    if when == Moment.PERIOD_END:
        return running.full_end_at
    if at == running.start_at:
        raise Conflict("the period began in this very instant; a change comes after it")
    hour = last_rated_hour(running)
    return min(hour + HOUR, running.end_at) if hour is not None and hour >= at else at


def refuse_unfit(
    subscription: Subscription, customer: Customer, asked: Asked, effective_at: datetime
) -> None:
    """Refuse a change that the state of the subscription does not admit.

    Raises:
        Conflict: what stands in the way is in its message.
    """
    ends_at = subscription.ends_at
    if ends_at is not None and (ends_at <= effective_at or asked.kind == ChangeKind.PLAN):
        raise Conflict(f"this subscription ends at {ends_at.isoformat()}; undo that first")
    if asked.kind == ChangeKind.CANCEL:
        if ends_at is not None:
            raise Conflict(f"this subscription ends at {ends_at.isoformat()} already")
        return
    axis = (ChangeKind.PLAN,) if asked.kind == ChangeKind.PLAN else _OF_STANDING
    later = standing_changes(subscription).filter(kind__in=axis, effective_at__gte=effective_at)
    if (scheduled := later.first()) is not None:
        when = scheduled.effective_at.isoformat()
        raise Conflict(f"a {scheduled.kind} is scheduled for {when}; undo it first")
    if asked.kind == ChangeKind.PLAN:
        _refuse_plan(subscription, customer, asked, effective_at)
    else:
        _refuse_standing(subscription, customer, asked, effective_at)


def _refuse_plan(
    subscription: Subscription, customer: Customer, asked: Asked, effective_at: datetime
) -> None:
    if asked.plan_version is None:
        raise Invalid("a change of plan names the plan", field="plan")
    refuse_closed(customer)
    version = governing(asked.plan_version, customer, effective_at)
    if plan_version_at(subscription, effective_at) == version:
        raise Conflict(f"the subscription has {version} then already")


def _refuse_standing(
    subscription: Subscription, customer: Customer, asked: Asked, effective_at: datetime
) -> None:
    standing = phase_of(subscription, effective_at).standing
    wanted = Standing.ACTIVE if asked.kind == ChangeKind.PAUSE else Standing.PAUSED
    if standing != wanted:
        raise Conflict(f"the subscription is {standing} then: it cannot {asked.kind}")
    if asked.kind == ChangeKind.RESUME:
        refuse_closed(customer)


def _running(subscription: Subscription, at: datetime) -> BillingPeriod:
    """Return the period that a change cuts or waits for."""
    last = last_period(subscription)
    if subscription.ends_at is not None and subscription.ends_at <= at:
        raise Conflict(f"this subscription ended at {subscription.ends_at.isoformat()}")
    if last is None or not last.start_at <= at < last.end_at:
        raise Conflict("a subscription is changed once it began")
    return last


def _write(
    subscription: Subscription, asked: Asked, effective_at: datetime, by: User, at: datetime
) -> SubscriptionChange:
    return SubscriptionChange.objects.create(
        subscription=subscription,
        kind=asked.kind,
        plan_version=asked.plan_version,
        effective_at=effective_at,
        credits_unused=asked.credits_unused,
        reason=asked.reason,
        source_key=asked.key,
        created_by=by,
        created_at=at,
    )


def _same(
    earlier: SubscriptionChange, subscription: Subscription, asked: Asked
) -> SubscriptionChange:
    version = asked.plan_version.pk if asked.plan_version else None
    before = (earlier.subscription_id, earlier.kind, earlier.plan_version_id)
    same_time = not isinstance(asked.when, datetime) or asked.when == earlier.effective_at
    if before != (subscription.pk, asked.kind, version) or not same_time:
        raise IdempotencyConflict("this key changed something else before")
    return earlier


def _end(subscription: Subscription, ends_at: datetime | None) -> None:
    subscription.ends_at = ends_at
    subscription.save(update_fields=["ends_at"])


def _follow(subscription: Subscription, by: User, at: datetime) -> None:
    """Let the running period end at the next change or the end, and open what begins then."""
    last = last_period(subscription)
    assert last is not None, "selling a plan opened its first period"
    ends = [step.at for step in steps_of(subscription)]
    if subscription.ends_at is not None:
        ends.append(subscription.ends_at)
    inside = (end for end in ends if last.start_at < end < last.full_end_at)
    end_billing_period(period=last, end_at=min(inside, default=last.full_end_at), at=at)
    open_begun(subscription, by=by, at=at)
    if last.uncut_end_at is not None and last.end_at == subscription.ends_at:
        credit_unused(subscription, last, at=at)


def _refuse_undoing(subscription: Subscription, change: SubscriptionChange, at: datetime) -> None:
    last = last_period(subscription)
    assert last is not None, "selling a plan opened its first period"
    is_cancel = change.kind == ChangeKind.CANCEL
    if change.effective_at <= at or (is_cancel and last.uncut_end_at is not None):
        raise Conflict(f"the {change.kind} took effect; make another change instead")
    if is_cancel:
        later = Subscription.objects.filter(
            customer=subscription.customer_id, start_at__gte=change.effective_at
        )
        if later.exclude(pk=subscription.pk).exists():
            raise Conflict("the customer has another subscription from then on")
        return
    axis = (ChangeKind.PLAN,) if change.kind == ChangeKind.PLAN else _OF_STANDING
    others = standing_changes(subscription).filter(kind__in=axis)
    if others.filter(effective_at__gt=change.effective_at).exists():
        raise Conflict("a later change builds on this one; undo that first")
    before = others.filter(effective_at__lt=change.effective_at).last()
    if before is not None and before.kind == ChangeKind.TRIAL:
        raise Conflict("a trial ends as it was sold; cancel the subscription instead")


def _refuse_inside_a_period(subscription: Subscription, ends_at: datetime) -> None:
    last = last_period(subscription)
    end = last.end_at if last else subscription.start_at
    for opened in coming(subscription, last, steps_of(subscription), None):
        if end >= ends_at:
            break
        end = opened.ends_at
    if end != ends_at:
        raise Conflict(f"a subscription ends with a period; the next end is {end.isoformat()}")
