"""Webhooks out: who is told of what, with which secret; what happened, and who has it."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from billing_project.kernel.models.access import User

_ENDS = ("next_try_at", "delivered_at", "given_up_at")


def _only(end: str) -> Q:
    return Q(**{f"{name}__isnull": name != end for name in _ENDS})


class WebhookEndpoint(models.Model):
    """An address of another system, and what it wants to be told."""

    url = models.CharField(max_length=1_000)
    description = models.CharField(max_length=200, blank=True)
    events = models.JSONField()  # Kinds, sorted; ["*"]: all, those of later releases too.
    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    failing_since = models.DateTimeField(null=True, blank=True)  # Nothing was taken since.
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.CharField(max_length=300, blank=True)
    told_at = models.DateTimeField(null=True, blank=True)  # Its owner, that we switched it off.

    class Meta:
        db_table = "webhook_endpoint"
        ordering = ["-id"]
        permissions = [("manage_webhookendpoint", "Can say who is told by webhook, and repeat it")]
        constraints = [
            models.UniqueConstraint(fields=["url"], name="webhook_endpoint_once"),
            models.CheckConstraint(
                condition=Q(disabled_at__isnull=True, disabled_reason="")
                | Q(disabled_at__isnull=False, disabled_reason__gt=""),
                name="webhook_endpoint_disabled_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return self.url

    @property
    def is_enabled(self) -> bool:
        """Tell whether anything is sent to it."""
        return self.disabled_at is None

    @property
    def state(self) -> str:
        """Say how it is: "enabled", "failing" or "disabled"."""
        if self.disabled_at is not None:
            return "disabled"
        return "failing" if self.failing_since else "enabled"


class WebhookSecret(models.Model):
    """What an endpoint's secret is derived from; the secret itself is stored nowhere.

    The installation's key makes it of the nonce, so that a leaked backup signs nothing; its sha256
    tells which of several keys made it.
    """

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.PROTECT, related_name="secrets")
    nonce = models.CharField(max_length=64, unique=True)
    sha256 = models.CharField(max_length=64)
    made_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)  # Exclusive; NULL: until it is replaced.

    class Meta:
        db_table = "webhook_secret"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"secret {self.pk} of {self.endpoint}"

    def is_live(self, at: datetime) -> bool:
        """Tell whether messages are signed with it at an instant."""
        return self.ends_at is None or at < self.ends_at


class WebhookEvent(models.Model):
    """One thing that happened, in the words in which everybody is told of it; append-only.

    Once nobody is left to be told its words are forgotten; see `forgetting`.
    """

    message_id = models.CharField(max_length=40, unique=True)  # Sent as webhook-id, each time.
    kind = models.CharField(max_length=40)  # "invoice.finalized"
    at = models.DateTimeField(db_index=True)
    body = models.TextField(help_text="Exactly as sent: JSON.")
    source_key = models.CharField(max_length=200, unique=True)  # "invoice:12:finalized"

    class Meta:
        db_table = "webhook_event"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["at"], condition=~Q(body=""), name="webhook_event_remembered")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.source_key}"


class WebhookDelivery(models.Model):
    """One event for one endpoint: written with the event, tried until it is taken or given up."""

    event = models.ForeignKey(WebhookEvent, on_delete=models.PROTECT, related_name="deliveries")
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.PROTECT, related_name="deliveries"
    )
    queued_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)  # Since it was queued, or replayed.
    next_try_at = models.DateTimeField(null=True, blank=True)
    last_tried_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    given_up_at = models.DateTimeField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)  # Of the last answer.
    failure = models.CharField(max_length=300, blank=True)  # Why the last try failed.

    class Meta:
        db_table = "webhook_delivery"
        verbose_name_plural = "webhook deliveries"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["event", "endpoint"], name="webhook_delivery_once"),
            models.CheckConstraint(
                condition=_only("next_try_at") | _only("delivered_at") | _only("given_up_at"),
                name="webhook_delivery_one_state",
            ),
            models.CheckConstraint(
                condition=Q(delivered_at__isnull=True)
                | Q(attempts__gt=0, last_tried_at__lte=F("delivered_at")),
                name="webhook_delivery_tried_before",
            ),
        ]
        indexes = [
            models.Index(
                fields=["endpoint", "next_try_at"],
                condition=Q(next_try_at__isnull=False),
                name="webhook_delivery_due",
            ),
            models.Index(
                fields=["given_up_at"],
                condition=Q(given_up_at__isnull=False),
                name="webhook_delivery_given_up",
            ),
            models.Index(
                Coalesce("delivered_at", "given_up_at"),
                condition=Q(next_try_at__isnull=True),
                name="webhook_delivery_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.endpoint}"

    @property
    def state(self) -> str:
        """Say how far it is: "waits", "delivered" or "given up"."""
        if self.delivered_at is not None:
            return "delivered"
        return "waits" if self.given_up_at is None else "given up"
