"""A time range of a customer's events, replaced as one object that somebody else approves."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models import PolicyChange
from metering.exact import ExactDecoder
from metering.models.customer import Customer, Workspace


class BackfillState(models.TextChoices):
    OPEN = "open"  # Takes lines.
    SUBMITTED = "submitted"
    APPLIED = "applied"
    REVERTED = "reverted"
    DISCARDED = "discarded"


class Backfill(models.Model):
    """What a customer's events of whole hours, [start, end), are to be from now on.

    Events that were not uploaded are cancelled, others amended or added; no row is deleted.
    """

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    event_names = models.JSONField(default=list, blank=True)  # Empty: every event name.
    reason = models.TextField()
    state = models.CharField(
        max_length=10, choices=BackfillState.choices, default=BackfillState.OPEN
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    applied_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    applied_at = models.DateTimeField(null=True, blank=True)
    reverted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    reverted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "backfill"
        ordering = ["-id"]
        permissions = [("make_backfill", "Can make, submit, apply and revert backfills")]
        constraints = [
            models.CheckConstraint(
                condition=Q(end_at__gt=F("start_at")), name="backfill_half_open"
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=["open", "submitted", "discarded"],
                    applied_at__isnull=True,
                    reverted_at__isnull=True,
                )
                | Q(state="applied", applied_at__isnull=False, reverted_at__isnull=True)
                | Q(state="reverted", applied_at__isnull=False, reverted_at__isnull=False),
                name="backfill_state_has_its_time",
            ),
        ]

    def __str__(self) -> str:
        return f"backfill {self.pk}"


class BackfillEvent(models.Model):
    """One uploaded line that can be an event; append-only."""

    backfill = models.ForeignKey(
        Backfill, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    line = models.IntegerField()
    identifier = models.CharField(max_length=128)
    event_name = models.CharField(max_length=100)
    workspace = models.ForeignKey(
        Workspace, on_delete=models.PROTECT, related_name="+", db_index=False, null=True, blank=True
    )
    timestamp = models.DateTimeField()
    properties = models.JSONField(decoder=ExactDecoder)
    content_sha256 = models.BinaryField(max_length=32)

    class Meta:
        db_table = "backfill_event"
        constraints = [
            models.UniqueConstraint(fields=["backfill", "identifier"], name="backfill_event_once")
        ]

    def __str__(self) -> str:
        return self.identifier


class BackfillError(models.Model):
    """One uploaded line that cannot be an event of the backfill, and why; append-only."""

    backfill = models.ForeignKey(Backfill, on_delete=models.PROTECT, related_name="+")
    line = models.IntegerField()
    identifier = models.CharField(max_length=128, blank=True)
    code = models.CharField(max_length=40)
    detail = models.TextField()

    class Meta:
        db_table = "backfill_error"

    def __str__(self) -> str:
        return f"line {self.line}: {self.detail}"


class BackfillProposal(models.Model):
    """A previewed state of the range, and what the backfill would change in it; append-only.

    The policy change carries the decision. It holds for just this state: where the range has
    changed by the time of applying, the approval is void, and the backfill is submitted again.
    """

    backfill = models.ForeignKey(Backfill, on_delete=models.PROTECT, related_name="+")
    number = models.PositiveIntegerField()
    state_sha256 = models.CharField(max_length=64)
    upload_sha256 = models.CharField(max_length=64)
    effect = models.JSONField()  # Counts, quantities and money, as previewed.
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "backfill_proposal"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["backfill", "number"], name="backfill_proposal_once")
        ]

    def __str__(self) -> str:
        return f"backfill {self.backfill_id}, proposal {self.number}"


class BackfillBatch(models.Model):
    """A batch of events that a backfill added; append-only."""

    backfill = models.ForeignKey(Backfill, on_delete=models.PROTECT, related_name="+")
    batch = models.OneToOneField("metering.EventBatch", on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "backfill_batch"
        verbose_name_plural = "backfill batches"

    def __str__(self) -> str:
        return f"batch {self.batch_id} of backfill {self.backfill_id}"
