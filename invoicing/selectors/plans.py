"""Which terms hold, and which periods a subscription opened."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import F, Min, Q, QuerySet

from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import PolicyStatus, in_force
from billing_project.kernel.remembering import remembered
from credits.models import BillingPeriod
from invoicing.items import Item
from invoicing.models import ChangeKind, Plan, PlanVersion, Subscription
from metering.models import Customer

# The plan of each period: the one sold, or the last change by its start (`plan_version_at`).
_OVERAGE_PRICES = """
SELECT b.id, v.overage_price_unrounded, v.currency
  FROM billing_period b JOIN subscription s ON s.id::text = split_part(b.source_key, ':', 2)
  JOIN plan_version v ON v.id = coalesce(
       (SELECT c.plan_version_id FROM subscription_change c
         WHERE c.subscription_id = s.id AND c.kind = 'plan' AND c.undone_at IS NULL
           AND c.effective_at <= b.start_at ORDER BY c.effective_at DESC LIMIT 1),
       s.plan_version_id)
 WHERE b.source_key LIKE 'subscription:%%' AND b.id = ANY(%s)
"""
_ITS_PLAN = "plan_version_at_its_start"  # Where a period that was read remembers it.


def governing_plan_version(
    plan: Plan, at: datetime, customer: Customer | None = None
) -> PlanVersion | None:
    """Return the newest approved version that has begun and not expired, or None.

    Args:
        customer: Whose own terms come before anybody's.
    """
    return (
        plan.versions.filter(
            in_force(at, "policy_change__"), Q(customer=None) | Q(customer=customer)
        )
        .select_related("plan", "rate_card__pricing_unit", "policy_change")
        .order_by(F("customer").asc(nulls_last=True), "-policy_change__effective_at", "-number")
        .first()
    )


def terms_end_before(plan: Plan, at: datetime) -> datetime | None:
    """Return when a plan's approved terms ran out before an instant; None if they reach it.

    A plan without approved terms before the instant has nothing that runs out.
    """
    spans = (
        plan.versions.filter(
            customer=None,
            policy_change__status=PolicyStatus.APPROVED,
            policy_change__effective_at__lt=at,
        )
        .values_list("policy_change__effective_at", "policy_change__expires_at")
        .order_by("policy_change__effective_at")
    )
    covered: datetime | None = None
    for _, expires_at in spans:
        if expires_at is None or expires_at >= at:
            return None
        covered = max(covered, expires_at) if covered else expires_at
    return covered


def next_terms_at(plan: Plan, at: datetime) -> datetime | None:
    """Return when a plan's next approved terms begin after an instant, if any do."""
    later = plan.versions.filter(
        customer=None,
        policy_change__status=PolicyStatus.APPROVED,
        policy_change__effective_at__gt=at,
    )
    found: datetime | None = later.aggregate(first=Min("policy_change__effective_at"))["first"]
    return found


def subscriptions(customer_external_id: str | None = None) -> QuerySet[Subscription]:
    """List subscriptions, newest first; of one customer if named."""
    found = Subscription.objects.select_related("customer", "plan_version__plan")
    found = found.prefetch_related("changes__plan_version__plan")
    if customer_external_id is not None:
        found = found.filter(customer__external_id=customer_external_id)
    return found.order_by("-id")


def find_subscription(pk: int) -> Subscription:
    """Return one subscription.

    Raises:
        NotFound: there is none of that id.
    """
    found = subscriptions().filter(pk=pk).first()
    if found is None:
        raise NotFound(f"no subscription has the id {pk}")
    return found


def plan_version_now(subscription: Subscription, at: datetime) -> PlanVersion:
    """Return the plan at an instant by the changes that were read with a subscription."""
    changes = [
        change
        for change in subscription.changes.all()
        if change.plan_version and change.undone_at is None and change.effective_at <= at
    ]
    newest = max(changes, key=lambda change: change.effective_at, default=None)
    return newest.plan_version if newest and newest.plan_version else subscription.plan_version


def billing_periods_of(subscription: Subscription) -> QuerySet[BillingPeriod]:
    """List the periods that a subscription opened, the first one first."""
    return BillingPeriod.objects.filter(
        customer_id=subscription.customer_id,
        source_key__startswith=f"subscription:{subscription.pk}:",
    ).order_by("start_at")


def running_period(customer: Customer, at: datetime) -> BillingPeriod:
    """Return the period that a subscription of the customer has open at an instant.

    Raises:
        NotFound: none is open.
    """
    period = BillingPeriod.objects.filter(
        customer=customer, start_at__lte=at, end_at__gt=at, source_key__startswith="subscription:"
    ).first()
    if period is None:
        raise NotFound(f"{customer} has no subscription at {at.isoformat()}")
    return period


def subscription_of(billing_period: BillingPeriod) -> Subscription:
    """Return the subscription that opened a period; the period's source key names it.

    Raises:
        NotFound: something else opened it.
    """
    origin, _, rest = billing_period.source_key.partition(":")
    number = rest.partition(":")[0]
    if origin != "subscription" or not number.isdecimal():
        raise NotFound(f"billing period {billing_period.pk} belongs to no subscription")
    return Subscription.objects.select_related("customer").get(pk=int(number))


def plan_version_of(
    billing_period: BillingPeriod, subscription: Subscription | None = None
) -> PlanVersion:
    """Return the terms under which a period's usage is claimed: those at its start.

    They are asked for once of each period that was read: a period keeps the plan that it began
    with, and PostgreSQL refuses a change, or the undoing of one, from before (`in_time`).

    Args:
        subscription: The one that opened the period, where it is known already.
    """
    version = vars(billing_period).get(_ITS_PLAN)
    if version is None:
        version = plan_version_at(
            subscription or subscription_of(billing_period), billing_period.start_at
        )
        vars(billing_period)[_ITS_PLAN] = version
    assert isinstance(version, PlanVersion), "nothing else is kept under this name"
    return version


def plan_version_at(subscription: Subscription, at: datetime) -> PlanVersion:
    """Return the plan that a subscription has at an instant: the one sold, or the last change."""
    changes = subscription.changes.filter(
        kind=ChangeKind.PLAN, undone_at=None, effective_at__lte=at
    )
    latest = changes.order_by("-effective_at").values_list("plan_version_id", flat=True).first()
    return _version(subscription.plan_version_id if latest is None else latest)


def _version(pk: int) -> PlanVersion:
    """Return the terms that somebody bought: they were approved, and never change again."""
    versions = PlanVersion.objects.select_related("plan", "rate_card__pricing_unit")
    return remembered(("plan_version", pk), lambda: versions.get(pk=pk))


def overage_price(billing_period: BillingPeriod) -> tuple[Decimal, str]:
    """Return the price of one overage credit of a period, in major units, and its currency."""
    version = plan_version_of(billing_period)
    return version.overage_price_unrounded, version.currency


def overage_prices(period_ids: Iterable[int]) -> dict[int, tuple[Decimal, str]]:
    """Return what `overage_price` does of many periods, by one query."""
    with connection.cursor() as cursor:
        cursor.execute(_OVERAGE_PRICES, [list(period_ids)])
        return {pk: (price, currency) for pk, price, currency in cursor.fetchall()}


def items_of(version: PlanVersion, *kinds: str) -> list[Item]:
    """Return what a version sells beside its base terms, in its order; of some kinds if named.

    A run remembers the items: none is added to a version, or taken off, once it was decided.
    """
    items = remembered(("items_of", version.pk), lambda: _items_of(version))
    return [item for item in items if not kinds or item.kind in kinds]


def _items_of(version: PlanVersion) -> list[Item]:
    return [
        Item(
            kind=row.kind, code=row.code, name=row.name, amount_minor=row.amount_minor,
            percent=row.percent, credits=row.credits, timing=row.timing, periods=row.periods,
            kinds=tuple(row.kinds),
        )
        for row in version.items.order_by("position")
    ]  # fmt: skip
