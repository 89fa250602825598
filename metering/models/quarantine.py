"""The workbench of what waits: groups of one cause, who answers for them, work on many rows."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from metering.models.event import QuarantinedEvent

MISSING_LENGTH = 400


class QuarantineRole(models.TextChoices):
    """Who may be asked to mend a cause; the roles of the house."""

    SUPPORT = "support"
    ENGINEERING = "engineering"
    PRODUCT = "product"
    FINANCE_MAKER = "finance_maker"


class QuarantineAssignment(models.Model):
    """Who answers for a group from now on; append-only, the newest one of a group governs."""

    reason = models.CharField(max_length=30)  # A QuarantineReason.
    missing = models.CharField(max_length=MISSING_LENGTH)
    role = models.CharField(max_length=20, choices=QuarantineRole.choices)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
    )
    note = models.TextField(blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = "quarantine_assignment"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["reason", "missing", "-id"], name="quarantine_assignment_group")
        ]

    def __str__(self) -> str:
        return f"{self.missing}: {self.person or self.role}"


class QuarantineGroup(models.Model):
    """Open rows that wait for one and the same thing; a view, made of the rows at each look.

    `missing` is what they wait for: the unknown customer's id, the unknown event name, the value
    that a meter misses, or the customer whose reports contradict each other.
    """

    id = models.BigIntegerField(primary_key=True)  # A hash of reason and missing: it stays.
    reason = models.CharField(max_length=30)  # A QuarantineReason.
    missing = models.CharField(max_length=MISSING_LENGTH)
    event_count = models.BigIntegerField()
    customer_count = models.BigIntegerField()
    event_name_count = models.BigIntegerField()
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    sample = models.ForeignKey(
        QuarantinedEvent, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    role = models.CharField("owner", max_length=20, choices=QuarantineRole.choices)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        db_constraint=False,
    )

    class Meta:
        managed = False
        db_table = "quarantine_group"
        verbose_name = "quarantine group"

    def __str__(self) -> str:
        return self.missing


class RunKind(models.TextChoices):
    REPLAY = "replay"
    DISMISS = "dismiss"


class QuarantineRun(models.Model):
    """Work on a whole group, done in chunks: how far it came, and what became of the rows.

    Rows up to `last_id` at the time of asking are worked on; what came later waits for the next
    run. Each chunk and its progress are one transaction.
    """

    kind = models.CharField(max_length=10, choices=RunKind.choices)
    reason = models.CharField(max_length=30)  # A QuarantineReason.
    missing = models.CharField(max_length=MISSING_LENGTH)
    words = models.TextField(blank=True)  # Why the rows are dismissed.
    event_count = models.IntegerField()  # When it was asked for.
    last_id = models.BigIntegerField()
    done_id = models.BigIntegerField(default=0)
    tried_count = models.IntegerField(default=0)
    closed_count = models.IntegerField(default=0)
    attempt_count = models.PositiveSmallIntegerField(default=0)  # That failed, since a chunk went.
    not_before = models.DateTimeField(null=True, blank=True)  # Waits after a fault.
    fault = models.TextField(blank=True, default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "quarantine_run"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["reason", "missing"],
                condition=Q(finished_at__isnull=True),
                name="quarantine_run_one_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(tried_count__gte=0, closed_count__lte=F("tried_count")),
                name="quarantine_run_counts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.missing}"

    @property
    def left_count(self) -> int:
        """How many of the rows have not been tried yet; others may have closed some meanwhile."""
        return 0 if self.finished_at else max(self.event_count - self.tried_count, 0)
