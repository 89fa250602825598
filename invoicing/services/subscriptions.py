"""Sell plans: each period opens with its billing period, its included credits and its fee."""

from datetime import UTC, datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import CharField, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Concat

from billing_project.kernel import audit, outbox
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.period import Period
from credits.models import BillingPeriod, GrantCategory
from credits.selectors.governing import is_in_force
from credits.services.grants import issue_grant
from credits.services.periods import open_billing_period
from invoicing.models import PlanVersion, SeatChange, Subscription
from invoicing.periods import Unit, bound
from invoicing.selectors import billing_periods_of, items_of
from invoicing.selectors.advance import advance_lines
from invoicing.services.drafts import Draft, create_draft, write_lines
from metering.models import Customer
from metering.selectors.customers import closed_times, was_closed_at
from metering.services.customers import lock_customer, refuse_closed

_FARTHEST_END = timedelta(days=3653)


@transaction.atomic
def subscribe(
    *,
    customer: Customer,
    plan_version: PlanVersion,
    start_at: datetime,
    by: User,
    at: datetime,
    seats: int = 0,
) -> Subscription:
    """Sell a plan version from an instant on, and open its first period.

    The same again returns the same row. Later periods are opened by `renew_due`, also those that
    began before `at`.

    Args:
        seats: How many the subscription begins with, where the plan sells seats.

    Raises:
        Invalid: seats of a plan that sells none, or fewer than none.
        Conflict: the version does not govern at the start, is sold in another currency, or the
            customer is closed or has a subscription that reaches beyond the start.
    """
    locked = lock_customer(customer.pk)
    sold = Subscription.objects.filter(customer=locked)
    same = sold.filter(plan_version=plan_version, start_at=start_at).first()
    if same is not None:
        return same
    refuse_closed(locked)
    version = _governing(plan_version, locked, start_at)
    if sold.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=start_at)).exists():
        raise Conflict(f"{locked} has a subscription already; end it first")
    for earlier in sold.order_by("id"):  # Their last hour is theirs before it can be ours.
        _renew(earlier, by, min(at, start_at))
    subscription = Subscription.objects.create(
        customer=locked,
        plan_version=version,
        start_at=start_at.astimezone(UTC),
        created_by=by,
        created_at=at,
    )
    _begin_with(subscription, seats)
    _open_next_period(subscription, is_paid=True, by=by, at=at)
    outbox.publish("money_changed", [locked.pk], at)
    audit.record(by=by, at=at, action="subscribe", subject=subscription, plan=str(version))
    return subscription


def renew_due(*, by: User, at: datetime) -> int:
    """Open every period that began by `at`: one transaction for each subscription.

    A period that begins while its customer is closed has no fee and no included credits; its usage
    is still rated and billed. Safe to run twice at once; a subscription that fails is logged and
    left for the next run.

    Returns:
        Periods opened.
    """
    return each_apart(_due(at), partial(_renew, by=by, at=at), step="renew")


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
    locked = _locked(subscription)
    if locked.ends_at == ends_at:
        return locked
    if locked.ends_at is not None:
        raise Conflict(f"this subscription ends at {locked.ends_at.isoformat()} already")
    if ends_at > at + _FARTHEST_END:
        raise Invalid("a subscription ends within ten years")
    _refuse_inside_a_period(locked, ends_at)
    locked.ends_at = ends_at
    locked.save(update_fields=["ends_at"])
    audit.record(by=by, at=at, action="end_subscription", subject=locked, reason=reason)
    return locked


def _governing(version: PlanVersion, customer: Customer, start_at: datetime) -> PlanVersion:
    """Read a version as it was decided, and refuse one that cannot be sold here and then."""
    version = PlanVersion.objects.select_related(
        "plan", "policy_change", "rate_card__pricing_unit"
    ).get(pk=version.pk)
    change = version.policy_change
    if change.status != PolicyStatus.APPROVED or not is_in_force(change, start_at):
        raise Conflict(f"{version} does not govern at {start_at.isoformat()}")
    if version.currency != customer.currency:
        raise Conflict(f"{version} is sold in {version.currency}, not in {customer.currency}")
    return version


def _take_into_claim(subscription: Subscription, start_at: datetime, at: datetime) -> None:
    """Mark the changes that a period's own claim counts, because they took effect by its start."""
    taken = subscription.seats.filter(settled_at__isnull=True, effective_at__lte=start_at)
    taken.update(settled_at=at)


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
    locked, opened = _locked(subscription), 0
    while (start := _next_start(locked)) <= at and (
        locked.ends_at is None or start < locked.ends_at
    ):
        is_paid = not was_closed_at(start, closed_times(locked.customer_id))
        period = _open_next_period(locked, is_paid=is_paid, by=by, at=at)
        audit.record(by=by, at=at, action="renew", subject=locked, billing_period=period.pk)
        opened += 1
    if opened:
        outbox.publish("money_changed", [locked.customer_id], at)
    return opened


def _locked(subscription: Subscription) -> Subscription:
    return (
        Subscription.objects.select_for_update(no_key=True, of=("self",))
        .select_related("customer", "plan_version__plan", "plan_version__rate_card__pricing_unit")
        .get(pk=subscription.pk)
    )


def _next_start(subscription: Subscription) -> datetime:
    """Return where the opened periods end; the next one starts there whatever zones did since."""
    last = billing_periods_of(subscription).last()
    return last.end_at if last else subscription.start_at


def _bound(subscription: Subscription, index: int) -> datetime:
    terms = subscription.plan_version
    zone = subscription.customer.time_zone
    return bound(
        subscription.start_at, Unit(terms.interval_unit), terms.interval_count, index, zone
    )


def _open_next_period(
    subscription: Subscription, *, is_paid: bool, by: User, at: datetime
) -> BillingPeriod:
    """Open a period; one that is paid has the plan's fee and its included credits."""
    terms = subscription.plan_version
    index = billing_periods_of(subscription).count()
    period = Period(_next_start(subscription), _bound(subscription, index + 1))
    billing_period = open_billing_period(
        customer=subscription.customer,
        rate_card=terms.rate_card,
        period=period,
        source_key=f"subscription:{subscription.pk}:{period.start.isoformat()}",
        at=at,
    )
    if not is_paid:
        return billing_period
    if terms.included_credits:
        issue_grant(
            customer=subscription.customer,
            category=GrantCategory.INCLUDED,
            amount=terms.included_credits,
            pricing_unit=terms.rate_card.pricing_unit,
            reason_code="plan_included",
            source_key=f"billing_period:{billing_period.pk}:included",
            by=by,
            at=at,
            effective_at=period.start,
            expires_at=period.end,
            is_promised=True,
        )
    _draft_advance(subscription, billing_period, at, is_first=index == 0)
    return billing_period


def _draft_advance(
    subscription: Subscription, billing_period: BillingPeriod, at: datetime, *, is_first: bool
) -> None:
    """Draft what a period claims in advance: fees and seats; where nothing is, no invoice is."""
    terms = subscription.plan_version
    service = Period(billing_period.start_at, billing_period.end_at)
    lines = advance_lines(subscription, terms, service, is_first=is_first)
    _take_into_claim(subscription, service.start, at)
    if not lines:
        return
    invoice = create_draft(
        Draft(
            customer=subscription.customer,
            subscription=subscription,
            currency=terms.currency,
            service=service,
            ready_at=billing_period.start_at,
            source_key=f"billing_period:{billing_period.pk}:fee",
        ),
        at,
    )
    write_lines(invoice, lines, billing_period)


def _refuse_inside_a_period(subscription: Subscription, ends_at: datetime) -> None:
    index = billing_periods_of(subscription).count()
    end = _next_start(subscription)
    while end < ends_at:
        index += 1
        end = _bound(subscription, index)
    if end != ends_at:
        raise Conflict(f"a subscription ends with a period; the next end is {end.isoformat()}")
