"""Coupons: approved offers with a code; who redeemed them; what discounts took off lines."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models import PolicyChange
from invoicing.models.invoice import InvoiceLine
from invoicing.models.item import PlanItem
from invoicing.models.plan import Subscription


class Coupon(models.Model):
    """Immutable terms of a discount that whoever has its code may redeem; approved by finance."""

    code = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=100)
    percent = models.DecimalField(max_digits=6, decimal_places=3, null=True, blank=True)
    amount_minor = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3, blank=True)  # Of an amount.
    kinds = models.JSONField()  # ["recurring", "seat"]
    periods = models.PositiveSmallIntegerField()  # How many it lowers; 0: all.
    starts_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    max_redemptions = models.PositiveIntegerField(null=True, blank=True)
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "coupon"
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=Q(percent__isnull=True, amount_minor__gt=0, amount_minor__lt=10**15)
                & ~Q(currency="")
                | Q(percent__gt=0, percent__lte=100, amount_minor=0, currency=""),
                name="coupon_percent_or_amount",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("starts_at")),
                name="coupon_half_open",
            ),
            models.CheckConstraint(
                condition=Q(max_redemptions__isnull=True) | Q(max_redemptions__gt=0),
                name="coupon_is_redeemable",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.code


class CouponRedemption(models.Model):
    """A coupon on a subscription: append-only, numbered, never more than the coupon allows."""

    coupon = models.ForeignKey(Coupon, on_delete=models.PROTECT, related_name="redemptions")
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="coupons")
    sequence = models.PositiveIntegerField()
    from_at = models.DateTimeField()  # The first period that it lowers begins here or later.
    redeemed_at = models.DateTimeField()
    redeemed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        db_table = "coupon_redemption"
        ordering = ["coupon", "sequence"]
        constraints = [
            models.UniqueConstraint(
                fields=["coupon", "subscription"], name="coupon_redemption_once"
            ),
            models.UniqueConstraint(
                fields=["coupon", "sequence"], name="coupon_redemption_in_order"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.coupon_id} on {self.subscription_id}"


class LineDiscount(models.Model):
    """What one discount took off one line; frozen with the invoice."""

    line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="discounts")
    name = models.CharField(max_length=100)
    amount_minor = models.BigIntegerField()
    plan_item = models.ForeignKey(
        PlanItem, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    redemption = models.ForeignKey(
        CouponRedemption, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )

    class Meta:
        db_table = "line_discount"
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="line_discount_positive"),
            models.CheckConstraint(
                condition=Q(plan_item__isnull=True, redemption__isnull=False)
                | Q(plan_item__isnull=False, redemption__isnull=True),
                name="line_discount_has_one_origin",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} off {self.line_id}"
