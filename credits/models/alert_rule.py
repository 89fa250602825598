"""Rules that raise alerts: versioned, and approved by two people."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange
from credits.models.rate import PricingUnit

_LIMIT = 10**24


class Watched(models.TextChoices):
    """What a rule looks at, and what its threshold means."""

    BALANCE = "balance"  # Below so many credits.
    SPEND = "spend"  # So many credits or more, in a window.
    USAGE = "usage"  # A quantity of a meter or more, in a window.
    FORECAST = "forecast"  # Credits run out within so many days.
    CHANGE = "change"  # So many per cent more spent than in the windows before.
    UNRATED = "unrated"  # So many usage windows, or so much of a meter, wait for a rate.
    QUARANTINED = "quarantined"  # So many events or more wait in quarantine.
    LAG = "lag"  # Usage is in no balance so many seconds after it was stored, or later.


class RuleWindow(models.TextChoices):
    """Over which time spending and usage count."""

    NONE = "", "none"
    HOUR = "hour"  # In UTC.
    DAY = "day"  # In the customer's time zone.
    MONTH = "month"


# What is always said of customers, one by one; the rest is about all usage, unless a rule says so.
OF_CUSTOMERS = ("balance", "spend", "usage", "forecast", "change")
OF_WAITING = ("unrated", "quarantined", "lag")
_OF_CREDITS = ["balance", "spend", "forecast", "change"]
_NO_WINDOW = ["balance", "forecast", "unrated", "quarantined", "lag"]
_NO_CHANGE = ["balance", "spend", "usage", "forecast", "unrated", "quarantined", "lag"]


class AlertRule(models.Model):
    """One version of a rule: what it watches, of one customer or of each, and who looks after it.

    `floor` is the least that a window must have spent before its change says anything. What waits
    is looked at of all usage together, of one customer, or of each by itself (`is_by_customer`).
    """

    code = models.CharField(max_length=64)
    number = models.PositiveIntegerField()
    watched = models.CharField(max_length=11, choices=Watched.choices)
    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    pricing_unit = models.ForeignKey(
        PricingUnit, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    meter = models.ForeignKey(
        "metering.Meter", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    is_by_customer = models.BooleanField("each customer by itself", default=False)
    window = models.CharField(max_length=5, choices=RuleWindow.choices, blank=True, default="")
    threshold = models.DecimalField(max_digits=38, decimal_places=12)
    floor = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "alert_rule"
        ordering = ["code", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["code", "number"], name="alert_rule_once"),
            models.CheckConstraint(
                condition=Q(threshold__gt=0, threshold__lt=_LIMIT), name="alert_rule_threshold"
            ),
            models.CheckConstraint(
                condition=Q(floor__isnull=True, watched__in=_NO_CHANGE)
                | Q(floor__gte=0, floor__lt=_LIMIT, watched="change"),
                name="alert_rule_floor_of_change",
            ),
            models.CheckConstraint(
                condition=Q(watched__in=["spend", "usage"], window__in=["hour", "day", "month"])
                | Q(watched="change", window__in=["hour", "day"])
                | Q(watched__in=_NO_WINDOW, window=""),
                name="alert_rule_window",
            ),
            models.CheckConstraint(
                condition=Q(watched="usage", meter__isnull=False, pricing_unit__isnull=True)
                | Q(
                    watched__in=_OF_CREDITS,
                    meter__isnull=True,
                    pricing_unit__isnull=False,
                )
                | Q(watched="unrated", pricing_unit__isnull=True)
                | Q(
                    watched__in=["quarantined", "lag"],
                    meter__isnull=True,
                    pricing_unit__isnull=True,
                ),
                name="alert_rule_about",
            ),
            models.CheckConstraint(
                condition=Q(is_by_customer=False)
                | Q(watched__in=OF_WAITING, customer__isnull=True),
                name="alert_rule_by_customer",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} v{self.number}"
