"""Under what terms credits are given: approved versions, and the rules that give them again."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models import PolicyChange
from credits.models.position import position_field
from credits.models.rate import PricingUnit


class Rollover(models.TextChoices):
    NONE = "none"
    FRACTION = "fraction"  # Of what is left at the end.
    CAP = "cap"  # What is left at the end, up to so many credits.


class RefundRule(models.TextChoices):
    UNUSED = "unused"  # A refund or a dispute takes back what is unused.
    NEVER = "never"


class GrantTerms(models.Model):
    """One version of the terms of a kind of grant; grants keep the version they were made under.

    Durations are whole days in the customer's time zone; None means without an end.
    """

    code = models.CharField(max_length=64)  # "monthly_included"
    number = models.PositiveIntegerField()
    category = models.CharField(max_length=12)
    priority = models.PositiveSmallIntegerField(default=50)
    life_days = models.PositiveIntegerField(null=True, blank=True)
    is_pooled = models.BooleanField(default=True)  # False: each grant is for one workspace.
    meter_codes = models.JSONField(default=list, blank=True)  # Empty: every meter.
    rollover = models.CharField(max_length=8, choices=Rollover.choices, default=Rollover.NONE)
    rollover_value = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    # Life of credits that come back after their grant has ended; None: as long as that one lived.
    return_days = models.PositiveIntegerField(null=True, blank=True)
    refund_rule = models.CharField(
        max_length=8, choices=RefundRule.choices, default=RefundRule.UNUSED
    )
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "grant_terms"
        verbose_name_plural = "grant terms"
        constraints = [
            models.UniqueConstraint(fields=["code", "number"], name="grant_terms_once"),
            models.CheckConstraint(condition=Q(priority__lte=100), name="grant_terms_priority"),
            models.CheckConstraint(
                condition=Q(category__in=["paid", "promotional", "included", "goodwill"]),
                name="grant_terms_category",
            ),
            models.CheckConstraint(
                condition=(Q(life_days__isnull=True) | Q(life_days__gt=0))
                & (Q(return_days__isnull=True) | Q(return_days__gt=0)),
                name="grant_terms_life",
            ),
            models.CheckConstraint(
                condition=Q(rollover="none", rollover_value__isnull=True)
                | Q(rollover="fraction", rollover_value__gt=0, rollover_value__lte=1)
                | Q(rollover="cap", rollover_value__gt=0, rollover_value__lt=10**24),
                name="grant_terms_rollover",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} v{self.number}"


class RecurringUnit(models.TextChoices):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class RecurringGrant(models.Model):
    """A rule that gives a customer the same credits every period, counted from its start.

    Only `until_at` moves, and only forward to an earlier end: what was given stays.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    terms = models.ForeignKey(GrantTerms, on_delete=models.PROTECT, related_name="+")
    pricing_unit = models.ForeignKey(PricingUnit, on_delete=models.PROTECT, related_name="+")
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    workspace = models.ForeignKey(
        "metering.Workspace", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    interval_unit = models.CharField(max_length=5, choices=RecurringUnit.choices)
    interval_count = models.PositiveSmallIntegerField(default=1)
    start_at = models.DateTimeField()  # The anchor: the 31st stays the 31st where there is one.
    until_at = models.DateTimeField(null=True, blank=True)  # No period begins at or after it.
    # The customer's when the rule was made: in another one its periods would begin otherwise, and
    # those that were given be given again.
    time_zone = models.CharField(max_length=64)
    reason_code = models.CharField(max_length=40)
    source_key = models.CharField(max_length=120, unique=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = "recurring_grant"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, amount__lt=10**24), name="recurring_grant_amount_bounds"
            ),
            models.CheckConstraint(
                condition=Q(interval_count__gt=0), name="recurring_grant_interval"
            ),
            models.CheckConstraint(
                condition=Q(until_at__isnull=True) | Q(until_at__gte=F("start_at")),
                name="recurring_grant_until_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"recurring grant {self.pk}"


class ClawBackReason(models.TextChoices):
    REFUND = "refund"
    DISPUTE = "dispute"


class ClawBack(models.Model):
    """A reason to take back what one purchase gave: the first takes, later ones are only known."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    purchase_key = models.CharField(max_length=120)  # "invoice_line:9:pack": the grant's source.
    reason = models.CharField(max_length=8, choices=ClawBackReason.choices)
    reference = models.CharField(max_length=120)  # The refund's or dispute's own name.
    credits = models.DecimalField(max_digits=38, decimal_places=12)  # Taken back, >= 0.
    used = models.DecimalField(max_digits=38, decimal_places=12)  # Used before, stays used.
    follows = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()
    position = position_field()  # What comes back at a later one is void.

    class Meta:
        db_table = "claw_back"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["purchase_key"],
                condition=Q(follows__isnull=True),
                name="claw_back_takes_once",
            ),
            models.UniqueConstraint(
                fields=["purchase_key", "reason", "reference"], name="claw_back_known_once"
            ),
            models.CheckConstraint(
                condition=Q(credits__gte=0, credits__lt=10**24, used__gte=0, used__lt=10**24)
                & (Q(follows__isnull=True) | Q(credits=0)),
                name="claw_back_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reason} {self.reference}"
