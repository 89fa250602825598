"""Usage that was given a price in credits, and how it was paid for."""

from datetime import datetime
from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from billing_project.kernel.period import days_text
from credits.models.position import position_field
from credits.models.rate import Rate, RateCard, RateCardVersion


class BillingPeriod(models.Model):
    """The span over which a customer's usage accumulates; made once, by the subscription.

    `source_key` names who asked for it ("subscription:7:2026-10-24T00:00:00+00:00"). The database
    refuses two periods of one customer that overlap (billing_period_no_overlap). A period may be
    cut where other terms begin; `uncut_end_at` keeps the end that it was opened with.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    rate_card = models.ForeignKey(RateCard, on_delete=models.PROTECT, related_name="+")
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    uncut_end_at = models.DateTimeField(null=True, blank=True)
    source_key = models.CharField(max_length=120, unique=True)

    class Meta:
        db_table = "billing_period"
        ordering = ["customer", "start_at"]
        constraints = [
            models.UniqueConstraint(fields=["customer", "start_at"], name="billing_period_once"),
            models.CheckConstraint(
                condition=Q(end_at__gt=F("start_at")), name="billing_period_half_open"
            ),
            models.CheckConstraint(
                condition=Q(uncut_end_at__isnull=True) | Q(uncut_end_at__gt=F("end_at")),
                name="billing_period_cut_is_shorter",
            ),
        ]

    def __str__(self) -> str:
        return days_text(self.start_at, self.end_at, self.customer.time_zone)

    @property
    def full_end_at(self) -> datetime:
        """The end that the period was opened with, cut or not."""
        return self.uncut_end_at or self.end_at


class RatedUsage(models.Model):
    """The charge for one change of one usage window: append-only.

    charge = drawn + overage + forgiven. Quantity and charge are differences and may be negative
    after an adjustment. What a credit note forgives moves from drawn to forgiven, in a row whose
    charge is zero.
    """

    # Indexes below begin with these three.
    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    billing_period = models.ForeignKey(
        BillingPeriod, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    window = models.ForeignKey(
        "metering.UsageWindow", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    window_revision = models.IntegerField()
    service_at = models.DateTimeField()  # The window's start.
    rate = models.ForeignKey(Rate, on_delete=models.PROTECT, related_name="+")
    rate_card_version = models.ForeignKey(
        RateCardVersion, on_delete=models.PROTECT, related_name="+"
    )
    quantity = models.DecimalField(max_digits=38, decimal_places=12)
    charge = models.DecimalField(max_digits=38, decimal_places=12)
    drawn = models.DecimalField(max_digits=38, decimal_places=12)
    overage = models.DecimalField(max_digits=38, decimal_places=12)
    forgiven = models.DecimalField(
        max_digits=38, decimal_places=12, default=Decimal(0), db_default=0
    )
    tiers = models.JSONField(default=list)  # [{"quantity", "unit_price", "charge"}]
    rated_at = models.DateTimeField()
    source_key = models.CharField(max_length=80, unique=True)  # "window:9:r2"
    position = position_field()

    class Meta:
        db_table = "rated_usage"
        verbose_name_plural = "rated usage"
        constraints = [
            models.CheckConstraint(
                condition=Q(charge=F("drawn") + F("overage") + F("forgiven")),
                name="rated_usage_parts_sum",
            ),
            models.CheckConstraint(
                condition=Q(forgiven__gt=-(10**26), forgiven__lt=10**26),
                name="rated_usage_forgiven_bounds",
            ),
            models.CheckConstraint(
                condition=Q(charge__gt=-(10**26), charge__lt=10**26),
                name="rated_usage_charge_bounds",
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "id"], name="rated_usage_customer"),
            models.Index(fields=["billing_period", "service_at"], name="rated_usage_period"),
            models.Index(fields=["window", "window_revision"], name="rated_usage_window"),
            models.Index(
                fields=["billing_period", "id"], condition=~Q(overage=0), name="rated_usage_overage"
            ),
            models.Index(fields=["id"], condition=Q(forgiven__gt=0), name="rated_usage_forgiven"),
        ]

    def __str__(self) -> str:
        return self.source_key
