"""Packages, and who bought them from when."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models import PolicyChange


class Plan(models.Model):
    """A named package; its versions carry the terms."""

    code = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200)

    class Meta:
        db_table = "plan"

    def __str__(self) -> str:
        return self.code


class IntervalUnit(models.TextChoices):
    DAY = "day"
    MONTH = "month"


class Anchor(models.TextChoices):
    """What a subscription's periods are counted from."""

    START = "start"  # Its own start.
    CALENDAR = "calendar"  # The first of a month; a shorter period comes first.


class PlanVersion(models.Model):
    """Immutable terms: a fee in advance, included credits, overage by the credit, and items."""

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    fee_minor = models.BigIntegerField()
    included_credits = models.DecimalField(max_digits=38, decimal_places=12)
    overage_price_unrounded = models.DecimalField(max_digits=38, decimal_places=12)
    threshold_minor = models.BigIntegerField(null=True, blank=True)  # Overage invoiced at once.
    rate_card = models.ForeignKey("credits.RateCard", on_delete=models.PROTECT, related_name="+")
    interval_unit = models.CharField(max_length=5, choices=IntervalUnit.choices)
    interval_count = models.PositiveSmallIntegerField()
    anchor = models.CharField(
        max_length=8, choices=Anchor.choices, default=Anchor.START, db_default=Anchor.START.value
    )
    grace_hours = models.PositiveIntegerField(default=24)
    payment_days = models.PositiveIntegerField(default=30)
    customer = models.ForeignKey(  # Whose own terms they are; None: anybody's.
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "plan_version"
        ordering = ["plan", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["plan", "number"], name="plan_version_once"),
            models.CheckConstraint(
                condition=Q(anchor="start") | Q(anchor="calendar", interval_unit="month"),
                name="plan_version_calendar_of_months",
            ),
            models.CheckConstraint(
                condition=Q(threshold_minor__isnull=True) | Q(threshold_minor__gt=0),
                name="plan_version_threshold_positive",
            ),
            models.CheckConstraint(
                condition=Q(
                    fee_minor__gte=0,
                    included_credits__gte=0,
                    included_credits__lt=10**24,
                    overage_price_unrounded__gte=0,
                    overage_price_unrounded__lt=10**15,
                    interval_count__gt=0,
                ),
                name="plan_version_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan.code} v{self.number}"


class Subscription(models.Model):
    """A customer's purchase of a plan version; `ends_at` is the only thing set later."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+")
    start_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = "subscription"
        ordering = ["-id"]
        permissions = [("manage_subscription", "Can change, pause, resume and cancel a plan")]
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("start_at")),
                name="subscription_half_open",
            ),
            models.UniqueConstraint(
                fields=["customer"],
                condition=Q(ends_at__isnull=True),
                name="subscription_one_open_per_customer",
            ),
        ]

    def __str__(self) -> str:
        return f"subscription {self.pk}"
