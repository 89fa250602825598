"""Coupons, and who redeemed them."""

from django.contrib import admin

from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge_html, link, money_text, number_text
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.quantity import how_many
from invoicing.models import Coupon, CouponRedemption


class RedemptionInline(ReadOnlyInline):
    """Who redeemed it."""

    model = CouponRedemption
    fields = (
        "sequence",
        link("subscription"),
        link("subscription.customer", "customer"),
        "from_at",
        "redeemed_at",
        link("redeemed_by"),
    )
    list_select_related = ("subscription__customer", "redeemed_by")
    ordering = ("-sequence",)
    verbose_name_plural = "redemptions"
    tab = False


@admin.register(Coupon)
class CouponAdmin(ReadOnlyAdmin):
    """Offers with a code; immutable, and approved by finance."""

    list_display = (
        "code",
        "name",
        "takes_off",
        "lasts",
        "starts_at",
        "expires_at",
        "max_redemptions",
        "status",
    )
    list_filter = ("policy_change__status",)
    list_select_related = ("policy_change",)
    search_fields = ("code", "name")
    ordering = ("code",)
    fields = (
        "code",
        "name",
        "takes_off",
        "lowers",
        "lasts",
        "starts_at",
        "expires_at",
        "max_redemptions",
        "status",
        link("policy_change"),
    )
    inlines = (RedemptionInline,)

    def takes_off(self, coupon: Coupon) -> str:
        """Show the share or the amount."""
        if coupon.percent is not None:
            return f"{number_text(coupon.percent)} %"
        return money_text(coupon.amount_minor, coupon.currency)

    def lowers(self, coupon: Coupon) -> str:
        """Name the kinds of lines that it lowers."""
        return ", ".join(coupon.kinds)

    def lasts(self, coupon: Coupon) -> str:
        """Show for how many periods."""
        return how_many(coupon.periods, "period") if coupon.periods else "for good"

    def status(self, coupon: Coupon) -> str:
        """Show the decision on it."""
        return badge_html(coupon.policy_change.status, POLICY_TONES[coupon.policy_change.status])
