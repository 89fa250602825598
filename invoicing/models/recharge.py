"""Balances that are filled by themselves: what a customer agreed to, and what was bought so."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from invoicing.models.invoice import Invoice

_CREDITS = 10**24
_MINOR = 10**15


class AutoRecharge(models.Model):
    """What a customer agreed to, who set it up, and when it ended; never edited, but replaced."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    pricing_unit = models.ForeignKey(
        "credits.PricingUnit", on_delete=models.PROTECT, related_name="+"
    )
    threshold = models.DecimalField(max_digits=38, decimal_places=12)  # Credits.
    amount = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    target = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    unit_price = models.DecimalField(max_digits=38, decimal_places=12)  # Of one credit, ex tax.
    currency = models.CharField(max_length=3)
    monthly_limit_minor = models.BigIntegerField()  # Ex tax, in a month of the customer's.
    cool_down_seconds = models.PositiveIntegerField()
    most_failures = models.PositiveSmallIntegerField()  # Declined payments, then it is off.
    consent = models.TextField()  # What they agreed to, and where that is kept.
    consented_by = models.CharField(max_length=200)  # Who, of the customer's.
    consented_at = models.DateTimeField()
    set_up_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    set_up_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    end_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "auto_recharge"
        ordering = ["-id"]
        permissions = [("manage_autorecharge", "Can set up and end automatic recharges")]
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "pricing_unit"],
                condition=Q(ended_at__isnull=True),
                name="auto_recharge_one_standing",
            ),
            models.CheckConstraint(
                condition=Q(amount__isnull=True, target__gt=models.F("threshold"))
                | Q(target__isnull=True, amount__gt=0, amount__lt=_CREDITS),
                name="auto_recharge_amount_or_target",
            ),
            models.CheckConstraint(
                condition=Q(threshold__gt=0, threshold__lt=_CREDITS)
                & (Q(target__isnull=True) | Q(target__lt=_CREDITS))
                & Q(unit_price__gt=0, unit_price__lt=_CREDITS)
                & Q(monthly_limit_minor__gt=0, monthly_limit_minor__lt=_MINOR)
                & Q(most_failures__gt=0),
                name="auto_recharge_bounds",
            ),
            models.CheckConstraint(
                condition=~Q(consent__regex=r"^\s*$") & ~Q(consented_by__regex=r"^\s*$"),
                name="auto_recharge_has_consent",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_by__isnull=True, end_reason="")
                | Q(ended_at__isnull=False, ended_by__isnull=False, end_reason__gt=""),
                name="auto_recharge_ended_by_someone",
            ),
        ]

    def __str__(self) -> str:
        return f"auto-recharge {self.pk} of {self.customer}"


class RechargeState(models.TextChoices):
    OPEN = "open"  # Its invoice waits for the payment; no credits yet.
    PAID = "paid"  # The credits were granted.
    FAILED = "failed"  # It was not paid, or taken back.


class Recharge(models.Model):
    """One purchase that was made by itself: its invoice asks for the payment, credits follow."""

    auto_recharge = models.ForeignKey(
        AutoRecharge, on_delete=models.PROTECT, related_name="recharges"
    )
    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    pricing_unit = models.ForeignKey(
        "credits.PricingUnit", on_delete=models.PROTECT, related_name="+"
    )
    number = models.PositiveIntegerField()  # Of its auto-recharge.
    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="+")
    available = models.DecimalField(max_digits=38, decimal_places=12)  # When it was bought.
    credits = models.DecimalField(max_digits=38, decimal_places=12)
    price_minor = models.BigIntegerField()  # Ex tax.
    currency = models.CharField(max_length=3)
    month_on = models.DateField()  # First day of the customer's month that it counts in.
    opened_at = models.DateTimeField()
    state = models.CharField(max_length=6, choices=RechargeState.choices, default="open")
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "recharge"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["auto_recharge", "number"], name="recharge_once"),
            models.UniqueConstraint(
                fields=["customer", "pricing_unit"],
                condition=Q(state="open"),
                name="recharge_one_open",
            ),
            models.CheckConstraint(
                condition=Q(state="open", closed_at__isnull=True)
                | Q(state__in=["paid", "failed"], closed_at__isnull=False),
                name="recharge_closed_once",
            ),
            models.CheckConstraint(
                condition=Q(credits__gt=0, credits__lt=_CREDITS)
                & Q(price_minor__gt=0, price_minor__lt=_MINOR),
                name="recharge_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"recharge {self.number} of {self.auto_recharge}"
