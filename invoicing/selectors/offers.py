"""Which discounts hold for what a subscription claims: its plan's, then its coupons."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile

from django.db.models import QuerySet

from billing_project.kernel.errors import NotFound
from invoicing.discounts import Offer
from invoicing.models import Coupon, CouponRedemption, PlanVersion, Subscription
from invoicing.phases import Opening, Standing
from invoicing.proration import part_of
from invoicing.selectors.changes import coming, standing_changes, steps_of
from metering.selectors.customers import closed_times, was_closed_at


def coupons() -> QuerySet[Coupon]:
    """List coupons with the decisions on them, by code."""
    return Coupon.objects.select_related("policy_change").order_by("code")


def find_coupon(code: str) -> Coupon:
    """Return the coupon of a code, in any case.

    Raises:
        NotFound: none has it.
    """
    coupon = coupons().filter(code=code.strip().upper()).first()
    if coupon is None:
        raise NotFound(f"no coupon has the code {code.strip()[:40]}")
    return coupon


def redemptions_of(subscription: Subscription) -> QuerySet[CouponRedemption]:
    """List the coupons that were redeemed on a subscription, the first one first."""
    rows = CouponRedemption.objects.filter(subscription=subscription)
    return rows.select_related("coupon").order_by("id")


def offers_for(
    subscription: Subscription, version: PlanVersion, opening: Opening, *, only_shares: bool = False
) -> list[Offer]:
    """List the discounts that hold for what is claimed of a period, in their order.

    A discount is for whole intervals: those in which nothing was due, because of a trial, a pause
    or a closed customer, do not use it up, and the parts of one count once. An amount holds for
    what a period claims when it begins, once, by the days of its interval; a percent for all of it.

    Args:
        version: The terms that govern the period.
        opening: The period, and the interval that it is a part of.
        only_shares: Leave amounts out.
    """
    items = list(version.items.filter(kind="discount").order_by("position"))
    rows = list(redemptions_of(subscription))
    if not items and not rows:
        return []
    paid = _paid_before(subscription, opening.period.start)
    kept = _claimed_whole(subscription, paid, opening)
    found = []
    for item in items:
        if not item.periods or _used(paid, opening) < item.periods:
            offer = Offer(item.name, item.percent, item.amount_minor, tuple(item.kinds), item.pk)
            mine = any(one.phase.terms.key == version.pk for one in kept)
            found.append(replace(offer, amount_minor=0) if mine else offer)
    for row in rows:
        since = [one for one in paid if one.period.start >= row.from_at]
        if opening.period.start >= row.from_at and (
            not row.coupon.periods or _used(since, opening) < row.coupon.periods
        ):
            offer = _of_coupon(row)
            mine = any(one in since for one in kept)
            found.append(replace(offer, amount_minor=0) if mine else offer)
    if only_shares:
        return [offer for offer in found if offer.percent is not None]
    part = part_of(opening.interval, opening.period, subscription.customer.time_zone)
    return [replace(one, amount_minor=part.minor(one.amount_minor)) for one in found]


def _of_coupon(row: CouponRedemption) -> Offer:
    terms = row.coupon
    return Offer(
        terms.code, terms.percent, terms.amount_minor, tuple(terms.kinds), redemption_id=row.pk
    )


def _paid_before(subscription: Subscription, start: datetime) -> list[Opening]:
    """List the periods that began before an instant, and in which what is sold was due."""
    times = closed_times(subscription.customer_id)
    periods = coming(subscription, None, steps_of(subscription), None)
    return [
        one
        for one in takewhile(lambda one: one.period.start < start, periods)
        if one.phase.standing == Standing.ACTIVE and not was_closed_at(one.period.start, times)
    ]


def _used(paid: Sequence[Opening], opening: Opening) -> int:
    """Count the intervals before a period's own that a discount was for."""
    own = opening.interval.start
    return len({one.interval.start for one in paid if one.interval.start < own})


def _claimed_whole(
    subscription: Subscription, paid: Sequence[Opening], opening: Opening
) -> list[Opening]:
    """List the parts of a period's own interval that a change cut without giving back the rest.

    What an amount took off them stays for the whole interval.
    """
    own = [one for one in paid if one.interval.start == opening.interval.start]
    if not own:
        return []
    kept = standing_changes(subscription).filter(credits_unused=False)
    ends = set(kept.values_list("effective_at", flat=True))
    return [one for one in own if one.changes_at in ends]
