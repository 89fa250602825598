"""Add and remove seats: a fact with its instant, charged or credited by the day.

Each change claims or gives back what it adds to the worth of the running period's seats, which is
settled over all their days: together the changes end on exactly that.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from django.db import transaction
from django.db.models import QuerySet

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Insufficient, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import prorate
from billing_project.kernel.period import Period
from billing_project.kernel.users import worker_user
from credits.models import BillingPeriod
from invoicing.discounts import discounted
from invoicing.lines import Kind, Line
from invoicing.models import (
    InvoiceStatus,
    SeatChange,
    Subscription,
)
from invoicing.seats import (
    Change,
    Pricing,
    TooFewSeats,
    change_words,
    refuse_too_few,
    worth,
)
from invoicing.selectors import (
    billing_periods_of,
    items_of,
    plan_version_at,
    plan_version_of,
)
from invoicing.selectors.advance import changes_of, seat_pricing
from invoicing.selectors.changes import SEAT_NOTES, opening_of, unused_prefix
from invoicing.selectors.offers import offers_for
from invoicing.selectors.seats import (
    beyond_worth,
    claimed_for_seats,
    net_and_listed,
    seat_lines,
)
from invoicing.services.credit_notes import issue_credit_note, undisputed
from invoicing.services.drafts import Draft, create_draft, write_lines
from invoicing.services.invoices import issue_at_once
from invoicing.services.locks import require_permission
from invoicing.services.shortening import claim_less
from metering.selectors.customers import closed_times, was_closed_at
from metering.services.customers import lock_customer, refuse_closed

_LONGEST_KEY = 80


@transaction.atomic
def change_seats(
    *,
    subscription: Subscription,
    seats: int,
    effective_at: datetime,
    reason: str,
    key: str,
    by: User,
    at: datetime,
) -> SeatChange:
    """Add seats, or remove some, from an instant of the running period or a later one on.

    One that took effect is settled at once: more seats are invoiced for the days that are left,
    what fewer seats leave unused is credited. A later one waits for its instant.

    Args:
        seats: How many more; negative: how many fewer.
        key: The caller's name for the change; the same again returns the same row.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no change, a bad key, or an instant outside of what can be changed; `field` says.
        Conflict: the plan sells no seats, the customer is closed, or the subscription has ended.
        Insufficient: fewer than no seats would be left at some instant.
        IdempotencyConflict: the key changed something else before.
    """
    require_permission(by, "invoicing.manage_subscription", "change subscriptions")
    customer = lock_customer(subscription.customer_id)
    source_key = _source_key(subscription, key)
    same = SeatChange.objects.filter(source_key=source_key).first()
    if same is not None:
        return _same(same, seats, effective_at)
    refuse_closed(customer)
    _refuse_bad(subscription, seats, effective_at, at)
    change = SeatChange.objects.create(
        subscription=subscription, seats=seats, effective_at=effective_at, reason=reason[:200],
        source_key=source_key, created_by=by, created_at=at,
    )  # fmt: skip
    audit.record(
        by=by, at=at, action="change_seats", subject=change, seats=seats,
        effective_at=effective_at.isoformat(),
    )  # fmt: skip
    if effective_at <= at:
        settle_seats_of(subscription, _period_at(subscription, effective_at), at)
        change.refresh_from_db()
    return change


def settle_due_seats(*, at: datetime) -> int:
    """Settle the changes whose instant has come; one transaction for each subscription."""
    due = SeatChange.objects.filter(settled_at__isnull=True, effective_at__lte=at)
    subscriptions = Subscription.objects.filter(pk__in=due.values("subscription"))
    return each_apart(subscriptions.order_by("id"), partial(_settle_due, at=at), step="seats")


@transaction.atomic
def _settle_due(subscription: Subscription, at: datetime) -> int:
    lock_customer(subscription.customer_id)
    settled = 0
    for change in _unsettled(subscription, at):
        change.refresh_from_db()
        period = _periods_at(subscription, change.effective_at).first()
        if change.settled_at is None and period is not None:  # Else what opens it settles it.
            settle_seats_of(subscription, period, at)
            settled += 1
    return settled


def settle_seats_of(
    subscription: Subscription, billing_period: BillingPeriod, at: datetime
) -> None:
    """Claim or give back what changes of a period add to the worth of its seats.

    Call it under the customer's lock; again, it does nothing.
    """
    fresh = _unsettled(subscription, at).filter(
        effective_at__gte=billing_period.start_at, effective_at__lt=billing_period.end_at
    )
    rows = list(fresh)
    if not rows:
        return
    pricing = _pricing(subscription, billing_period)
    if pricing is not None:
        known = subscription.seats.filter(effective_at__lte=at)
        before = known.exclude(pk__in=[row.pk for row in rows])
        more_minor = worth(changes_of(known), pricing) - worth(changes_of(before), pricing)
        if more_minor > 0:
            _charge(subscription, billing_period, pricing, rows, more_minor, at)
        elif more_minor < 0:
            words, key = change_words(changes_of(rows), pricing), f"{SEAT_NOTES}{rows[-1].pk}:"
            _credit(billing_period, -more_minor, words, key, at)
    fresh.update(settled_at=at)


def give_back_unused_seats(
    subscription: Subscription, billing_period: BillingPeriod, at: datetime
) -> None:
    """Settle the seats of a period that was cut: give back what is claimed for the days after.

    Call it under the customer's lock; again, it does nothing.
    """
    settle_seats_of(subscription, billing_period, at)
    left = beyond_worth(subscription, billing_period, billing_period.end_at)
    if left > 0:
        memo = f"Seats not used from {billing_period.end_at:%Y-%m-%d} on"
        _credit(billing_period, left, memo, f"{unused_prefix(billing_period)}seats:", at)


def give_back_removed_seats(
    subscription: Subscription, billing_period: BillingPeriod, at: datetime
) -> None:
    """Give back what lines claim for a period's seats that were removed while nothing claimed them.

    Call it under the customer's lock once a void claim is made again; again, it does nothing.
    """
    pricing = _pricing(subscription, billing_period)
    settled = subscription.seats.filter(
        settled_at__isnull=False, effective_at__lt=billing_period.end_at
    )
    if pricing is None:
        return
    left = claimed_for_seats(billing_period) - worth(changes_of(settled), pricing)
    if left > 0:
        key = f"{SEAT_NOTES}of_period:{billing_period.pk}:"
        _credit(billing_period, left, "Seats that were removed before", key, at)


def _pricing(subscription: Subscription, billing_period: BillingPeriod) -> Pricing | None:
    """Return what a seat costs in a period; None where nothing is due in it."""
    if was_closed_at(billing_period.start_at, closed_times(subscription.customer_id)):
        return None
    version = plan_version_of(billing_period)
    return seat_pricing(subscription, version, opening_of(billing_period))


def _charge(
    subscription: Subscription,
    billing_period: BillingPeriod,
    pricing: Pricing,
    rows: Sequence[SeatChange],
    amount_minor: int,
    at: datetime,
) -> None:
    changes = changes_of(rows)
    start = min(row.effective_at for row in rows)
    draft = create_draft(
        Draft(
            customer=subscription.customer,
            subscription=subscription,
            currency=pricing.price.currency,
            service=Period(start, pricing.period.end),
            ready_at=at,
            source_key=f"{SEAT_NOTES}{rows[-1].pk}",
        ),
        at,
    )
    line = Line(
        Kind.SEAT,
        f"{pricing.name}: {change_words(changes, pricing)}",
        _quantity(changes),
        "seat",
        pricing.price.decimal,
        amount_minor,
        "seats",
    )
    version = plan_version_of(billing_period)
    offers = offers_for(subscription, version, opening_of(billing_period), only_shares=True)
    write_lines(draft, discounted([line], offers, version.currency), billing_period)
    issue_at_once(invoice=draft, by=worker_user(), at=at)


def _credit(
    billing_period: BillingPeriod, amount_minor: int, memo: str, key: str, at: datetime
) -> None:
    """Take what is not used off the period's seat lines, the newest first.

    What they were discounted by is not given back.
    """
    net, listed = net_and_listed(seat_lines(billing_period))
    if not listed:
        return  # What claimed them is void: claimed again, they are fewer.
    left = prorate(amount_minor, net, listed)
    is_cut = key.startswith(unused_prefix(billing_period))
    ends_at = billing_period.end_at if is_cut else None
    lines = seat_lines(billing_period).select_related("invoice").order_by("-id")
    for line in lines:
        off = min(left, line.amount_minor - line.credited_minor)
        if off <= 0:
            continue
        left -= off
        if line.invoice.status == InvoiceStatus.UNCOLLECTIBLE:
            continue  # Nobody paid for them, and nothing is claimed any more.
        if line.invoice.status == InvoiceStatus.DRAFT:
            claim_less(line, off, memo, ends_at)
            continue
        undisputed_part = undisputed(line.invoice, [(line, off)])
        if not undisputed_part:
            continue
        issue_credit_note(
            invoice=line.invoice,
            lines=undisputed_part,
            reason="cancel_future",
            memo=memo,
            key=f"{key}{line.pk}:{line.credited_minor + off}",
            by=worker_user(),
            at=at,
        )


def _source_key(subscription: Subscription, key: str) -> str:
    if not 0 < len(key) <= _LONGEST_KEY:
        raise Invalid(f"a seat change's key has 1 to {_LONGEST_KEY} characters", field="key")
    return f"subscription:{subscription.pk}:seats:{key}"


def _quantity(changes: Sequence[Change]) -> Decimal:
    """Return how many seats are charged: those added, where some were removed beside them."""
    return Decimal(sum(change.seats for change in changes if change.seats > 0))


def _unsettled(subscription: Subscription, at: datetime) -> QuerySet[SeatChange]:
    rows = SeatChange.objects.filter(
        subscription=subscription, settled_at__isnull=True, effective_at__lte=at
    )
    return rows.order_by("effective_at", "id")


def _period_at(subscription: Subscription, at: datetime) -> BillingPeriod:
    """Return the opened period of a subscription that an instant lies in.

    Raises:
        Conflict: none does: it is over, or not opened yet.
    """
    found = _periods_at(subscription, at).first()
    if found is None:
        raise Conflict(f"{subscription} has no period at {at.isoformat()}")
    return found


def _periods_at(subscription: Subscription, at: datetime) -> QuerySet[BillingPeriod]:
    return billing_periods_of(subscription).filter(start_at__lte=at, end_at__gt=at)


def _refuse_bad(
    subscription: Subscription, seats: int, effective_at: datetime, at: datetime
) -> None:
    if not seats:
        raise Invalid("a change of seats adds or removes some", field="seats")
    running = _period_at(subscription, at)
    if effective_at < running.start_at:
        raise Invalid(
            f"seats change from the running period's start on, {running.start_at.isoformat()}",
            field="effective_at",
        )
    if subscription.ends_at is not None and effective_at >= subscription.ends_at:
        raise Conflict(f"{subscription} ends at {subscription.ends_at.isoformat()}")
    version = plan_version_at(subscription, effective_at)
    if not items_of(version, "seat"):  # In a trial, or a pause, they are chosen for what follows.
        raise Conflict(f"{version} sells no seats")
    changes = changes_of(list(subscription.seats.all()))
    try:
        refuse_too_few([*changes, Change(effective_at, seats)])
    except TooFewSeats as error:
        raise Insufficient(str(error), field="seats") from error


def _same(change: SeatChange, seats: int, effective_at: datetime) -> SeatChange:
    if (change.seats, change.effective_at) != (seats, effective_at):
        raise IdempotencyConflict("this key changed other seats before")
    return change
