"""Sell plans: each period opens with its billing period, its included credits and its fee."""

from datetime import UTC, datetime
from functools import partial

from django.db import transaction
from django.db.models import CharField, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Concat

from billing_project.kernel import audit, outbox
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from credits.models import BillingPeriod
from invoicing.models import (
    ChangeKind,
    PlanVersion,
    SeatChange,
    Subscription,
    SubscriptionChange,
)
from invoicing.selectors import items_of
from invoicing.selectors.changes import coming, steps_of
from invoicing.selectors.entities import entity_id_of
from invoicing.selectors.markets import open_gate
from invoicing.services.changes import FARTHEST, end_subscription, governing
from invoicing.services.coupons import redeem_coupon
from invoicing.services.locks import require_permission
from invoicing.services.openings import lock_subscription, open_begun, open_period
from metering.models import Customer
from metering.services.customers import lock_customer, refuse_closed

__all__ = ["end_subscription", "renew_due", "subscribe"]


@transaction.atomic
def subscribe(
    *,
    customer: Customer,
    plan_version: PlanVersion,
    start_at: datetime,
    by: User,
    at: datetime,
    seats: int = 0,
    trial_until: datetime | None = None,
    coupon: str = "",
) -> Subscription:
    """Sell a plan version from an instant on, and open its first period.

    The same again returns the same row. Later periods are opened by `renew_due`, also those that
    began before `at`.

    Args:
        seats: How many the subscription begins with, where the plan sells seats.
        trial_until: Until then there is no fee, and included credits are for the trial's days;
            the first paid period begins there.
        coupon: The code of one to redeem; it lowers the first period already.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: seats of a plan that sells none, or fewer than none; a trial that ends before it
            begins, or too far away.
        Conflict: the version does not govern at the start, is sold in another currency, its market
            is not open, or the customer is closed or has a subscription that reaches beyond it.
    """
    require_permission(by, "invoicing.manage_subscription", "sell plans")
    locked = lock_customer(customer.pk)
    sold = Subscription.objects.filter(customer=locked)
    same = sold.filter(plan_version=plan_version, start_at=start_at).first()
    if same is not None and _trial_of(same) == trial_until:
        return same
    refuse_closed(locked)
    version = governing(plan_version, locked, start_at)
    open_gate(locked, version.currency, at, entity_id_of(locked))
    _come_after(sold, start_at, by, at)
    subscription = Subscription.objects.create(
        customer=locked, plan_version=version, start_at=start_at.astimezone(UTC),
        created_by=by, created_at=at,
    )  # fmt: skip
    _begin_with(subscription, seats)
    _begin_trial(subscription, trial_until, by, at)
    _open_first(subscription, coupon, by, at)
    outbox.publish("money_changed", [locked.pk], at)
    audit.record(by=by, at=at, action="subscribe", subject=subscription, plan=str(version))
    return subscription


def _come_after(sold: QuerySet[Subscription], start_at: datetime, by: User, at: datetime) -> None:
    """Refuse to begin inside an earlier subscription, and let those before have their periods."""
    if sold.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=start_at)).exists():
        raise Conflict("the customer has a subscription already; end it first")
    for earlier in sold.order_by("id"):  # Their last hour is theirs before it can be ours.
        _renew(earlier, by, min(at, start_at))


def _open_first(subscription: Subscription, coupon: str, by: User, at: datetime) -> None:
    if coupon:
        redeem_coupon(subscription=subscription, code=coupon, by=by, at=at)
    first = next(coming(subscription, None, steps_of(subscription), None))
    open_period(subscription, first, by=by, at=at)


def renew_due(*, by: User, at: datetime) -> int:
    """Open every period that began by `at`: one transaction for each subscription.

    A period that begins while its customer is closed, or while it is paused, has no fee and no
    included credits; its usage is still rated and billed. Safe to run twice at once; a subscription
    that fails is logged and left for the next run.

    Returns:
        Periods opened.
    """
    return each_apart(_due(at), partial(_renew, by=by, at=at), step="renew")


def _begin_trial(
    subscription: Subscription, trial_until: datetime | None, by: User, at: datetime
) -> None:
    if trial_until is None:
        return
    start_at = subscription.start_at
    if not start_at < trial_until <= start_at + FARTHEST:
        raise Invalid("a trial ends after it begins, and within ten years", field="trial_until")
    for kind, effective_at in (
        (ChangeKind.TRIAL, start_at),
        (ChangeKind.RESUME, trial_until),
    ):
        SubscriptionChange.objects.create(
            subscription=subscription,
            kind=kind,
            effective_at=effective_at,
            reason="sold with a trial",
            source_key=f"subscription:{subscription.pk}:trial:{kind}",
            created_by=by,
            created_at=at,
        )


def _trial_of(subscription: Subscription) -> datetime | None:
    """Return until when a subscription was sold as a trial."""
    key = f"subscription:{subscription.pk}:trial:{ChangeKind.RESUME}"
    ends = subscription.changes.filter(source_key=key).values_list("effective_at", flat=True)
    return ends.first()


def _begin_with(subscription: Subscription, seats: int) -> None:
    if not seats:
        return
    if seats < 0 or not items_of(subscription.plan_version, "seat"):
        raise Invalid(f"{subscription.plan_version} sells no such seats", field="seats")
    SeatChange.objects.create(
        subscription=subscription,
        seats=seats,
        effective_at=subscription.start_at,
        source_key=f"subscription:{subscription.pk}:seats",
        created_by=subscription.created_by,
        created_at=subscription.created_at,
    )


def _due(at: datetime) -> QuerySet[Subscription]:
    """List subscriptions whose last opened period ended by `at` and that go on after it."""
    key = Concat(Value("subscription:"), Cast(OuterRef("pk"), CharField()), Value(":"))
    last_end = (
        BillingPeriod.objects.filter(customer=OuterRef("customer"), source_key__startswith=key)
        .order_by("-end_at")
        .values("end_at")[:1]
    )
    return (
        Subscription.objects.annotate(last_end_at=Subquery(last_end))
        .filter(Q(ends_at__isnull=True) | Q(ends_at__gt=F("last_end_at")), last_end_at__lte=at)
        .order_by("id")
    )


@transaction.atomic
def _renew(subscription: Subscription, by: User, at: datetime) -> int:
    lock_customer(subscription.customer_id)
    opened = open_begun(lock_subscription(subscription), by=by, at=at)
    if opened:
        outbox.publish("money_changed", [subscription.customer_id], at)
    return opened
