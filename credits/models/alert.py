"""What somebody has to look at: raised once for each cause, and acknowledged by a person."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from credits.models.alert_rule import AlertRule


class AlertKind(models.TextChoices):
    SPEND_LIMIT = "spend_limit"
    FORECAST = "forecast"  # Credits, or a limit, run out before their time is over.
    BALANCE = "balance"  # From here to `lag` raised by rules only.
    SPEND = "spend"
    USAGE = "usage"
    CHANGE = "change"
    UNRATED = "unrated"
    QUARANTINED = "quarantined"
    LAG = "lag"
    ANOMALY = "anomaly"
    RECHARGE = "recharge"  # A balance is not filled by itself any more.


class Alert(models.Model):
    """One warning; `source_key` names its cause, so that the same one is raised once.

    What a rule says of a state (a balance below, a lag above) stands until the state is over; no
    second alert is raised meanwhile.
    """

    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    kind = models.CharField(max_length=16, choices=AlertKind.choices)
    title = models.CharField(max_length=200)
    facts = models.JSONField(default=dict)  # Plain values: the limit, its window, how far.
    raised_at = models.DateTimeField()
    source_key = models.CharField(max_length=200, unique=True)
    rule = models.ForeignKey(
        AlertRule, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    ended_at = models.DateTimeField(null=True, blank=True)  # The state was over.
    owner = models.ForeignKey(  # Who looks after it; the rule's, until somebody is named.
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    note = models.TextField(blank=True)
    told_at = models.DateTimeField(null=True, blank=True)  # By mail, to whoever looks after alerts.

    class Meta:
        db_table = "alert"
        ordering = ["-id"]
        permissions = [("acknowledge_alert", "Can acknowledge an alert")]
        indexes = [models.Index(fields=["id"], condition=Q(told_at=None), name="alert_untold")]
        constraints = [
            models.CheckConstraint(
                condition=Q(acknowledged_at__isnull=True, acknowledged_by__isnull=True)
                | Q(acknowledged_at__isnull=False, acknowledged_by__isnull=False),
                name="alert_acknowledged_by_someone",
            )
        ]

    def __str__(self) -> str:
        return self.title
