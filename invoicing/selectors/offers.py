"""Which discounts hold for what a subscription claims: its plan's, then its coupons."""

from datetime import datetime

from django.db.models import QuerySet

from billing_project.kernel.errors import NotFound
from invoicing.discounts import Offer
from invoicing.models import Coupon, CouponRedemption, PlanVersion, Subscription
from invoicing.selectors.plans import billing_periods_of


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
    subscription: Subscription, version: PlanVersion, start: datetime, *, only_shares: bool = False
) -> list[Offer]:
    """List the discounts that hold for what is claimed of a period, in their order.

    An amount holds for what a period claims when it begins, once; a percent for all of it.

    Args:
        version: The terms that govern the period.
        start: When the period begins.
        only_shares: Leave amounts out.
    """
    begun = list(
        billing_periods_of(subscription)
        .filter(start_at__lt=start, uncut_end_at__isnull=True)
        .values_list("start_at", flat=True)
    )
    found = []
    for item in version.items.filter(kind="discount").order_by("position"):
        if not item.periods or len(begun) < item.periods:
            found.append(
                Offer(item.name, item.percent, item.amount_minor, tuple(item.kinds), item.pk)
            )
    for row in redemptions_of(subscription):
        terms, used = row.coupon, sum(at >= row.from_at for at in begun)
        if start >= row.from_at and (not terms.periods or used < terms.periods):
            found.append(
                Offer(
                    terms.code, terms.percent, terms.amount_minor, tuple(terms.kinds),
                    redemption_id=row.pk,
                )
            )  # fmt: skip
    return [offer for offer in found if offer.percent is not None or not only_shares]
