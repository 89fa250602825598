"""Raw usage as it was reported, and what became of each report."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from metering.exact import ExactDecoder
from metering.models.customer import Customer, Workspace


class EventBatch(models.Model):
    """Events stored by one transaction; the aggregator takes each batch once.

    Ids between first and last belong to this batch where `batch_id` says so (several writers draw
    from one sequence).
    """

    received_at = models.DateTimeField()
    event_count = models.IntegerField()
    first_event_id = models.BigIntegerField()
    last_event_id = models.BigIntegerField()
    first_timestamp = models.DateTimeField()
    last_timestamp = models.DateTimeField()
    aggregated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "event_batch"
        verbose_name_plural = "event batches"
        indexes = [
            models.Index(
                fields=["id"], condition=Q(aggregated_at__isnull=True), name="event_batch_waiting"
            )
        ]

    def __str__(self) -> str:
        return f"batch {self.pk}"


class EventIdentity(models.Model):
    """The claim of (customer, identifier): billed at most once, for ever; append-only."""

    pk = models.CompositePrimaryKey("customer_id", "identifier")
    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    identifier = models.CharField(max_length=128)
    content_sha256 = models.BinaryField(max_length=32)
    event_id = models.BigIntegerField()
    timestamp = models.DateTimeField()

    class Meta:
        db_table = "event_identity"

    def __str__(self) -> str:
        return self.identifier


class MeterEvent(models.Model):
    """One immutable report of use; partitioned by month of `timestamp`.

    The database's key is (id, customer_id, timestamp). Customer and workspace carry no database
    constraint: they are joined at insert and cannot be deleted.
    """

    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    workspace = models.ForeignKey(
        Workspace,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
        null=True,
        blank=True,
    )
    event_name = models.CharField(max_length=100)
    identifier = models.CharField(max_length=128)
    timestamp = models.DateTimeField()
    properties = models.JSONField(decoder=ExactDecoder)
    received_at = models.DateTimeField()
    batch_id = models.BigIntegerField()

    class Meta:
        db_table = "meter_event"
        permissions = [("adjust_meterevent", "Can cancel or amend a meter event")]

    def __str__(self) -> str:
        return self.identifier


class QuarantineReason(models.TextChoices):
    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_EVENT_NAME = "unknown_event_name"
    MISSING_VALUE = "missing_value"
    INVALID_VALUE = "invalid_value"  # Found by a replay: at the door such a report is refused.
    IDENTIFIER_CONFLICT = "identifier_conflict"
    PERIOD_CLOSED = "period_closed"


# What a good report under the same identifier answers. Whatever else was reported twice with two
# contents is a conflict, which somebody has to decide.
MENDABLE = (QuarantineReason.MISSING_VALUE, QuarantineReason.INVALID_VALUE)


class QuarantineState(models.TextChoices):
    OPEN = "open"
    REPLAYED = "replayed"
    AMENDED = "amended"  # A conflict: the stored event counts with this row's content now.
    DISMISSED = "dismissed"


class QuarantinedEvent(models.Model):
    """Received, kept, not yet billable: waits for somebody to map it, replay it or dismiss it.

    `reason` and `detail` say what it waits for now. A replay that finds something else sets them;
    the database admits that only beside the `QuarantineTry` that says what they were before.
    """

    customer_external_id = models.CharField(max_length=128)
    workspace_external_id = models.CharField(max_length=128, blank=True)
    event_name = models.CharField(max_length=100)
    identifier = models.CharField(max_length=128)
    timestamp = models.DateTimeField()
    is_timestamp_sent = models.BooleanField()
    properties = models.JSONField(decoder=ExactDecoder)
    content_sha256 = models.BinaryField(max_length=32)
    reason = models.CharField(max_length=30, choices=QuarantineReason.choices)
    detail = models.TextField(blank=True)
    received_at = models.DateTimeField()
    state = models.CharField(
        max_length=10, choices=QuarantineState.choices, default=QuarantineState.OPEN
    )
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
    )
    resolution = models.TextField(blank=True)

    class Meta:
        db_table = "quarantined_event"
        ordering = ["-id"]
        permissions = [
            ("replay_quarantinedevent", "Can map, replay or dismiss quarantined events"),
            ("decide_lateevent", "Can replay or dismiss what waits because its period is closed"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["customer_external_id", "identifier", "content_sha256"],
                name="quarantined_event_once",
            ),
            models.CheckConstraint(
                condition=Q(state="open", resolved_at__isnull=True)
                | Q(state__in=["replayed", "amended", "dismissed"], resolved_at__isnull=False),
                name="quarantined_event_resolved_at",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "reason"], name="quarantined_event_open"),
            models.Index(fields=["identifier"], name="quarantined_event_identifier"),
            models.Index(
                fields=["customer_external_id", "received_at"],
                condition=Q(state="open"),
                name="quarantined_event_waiting",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer_external_id}/{self.identifier}"


class QuarantineTry(models.Model):
    """A replay that could not store an event: what it waited for, and what was found; append-only.

    What the first try of an event found before it is what the event was kept for.
    """

    event = models.ForeignKey(QuarantinedEvent, on_delete=models.PROTECT, related_name="tries")
    reason_before = models.CharField(max_length=30, choices=QuarantineReason.choices)
    detail_before = models.TextField(blank=True)
    reason = models.CharField(max_length=30, choices=QuarantineReason.choices)
    detail = models.TextField(blank=True)
    tried_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    tried_at = models.DateTimeField()

    class Meta:
        db_table = "quarantine_try"
        ordering = ["-id"]
        verbose_name_plural = "quarantine tries"

    def __str__(self) -> str:
        return f"try {self.pk} of {self.event_id}"


class EventRejection(models.Model):
    """Counter and last sample of what was refused at the door: code, day and sender."""

    api_key_name = models.CharField(max_length=100)
    code = models.CharField(max_length=40)
    day = models.DateField()
    count = models.BigIntegerField()
    sample = models.JSONField()
    last_at = models.DateTimeField()

    class Meta:
        db_table = "event_rejection"
        constraints = [
            models.UniqueConstraint(
                fields=["api_key_name", "code", "day"], name="event_rejection_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.day}"


class AdjustmentType(models.TextChoices):
    CANCEL = "cancel"
    AMEND = "amend"
    REINSTATE = "reinstate"  # After a cancellation, by a backfill: the event counts again.


class MeterEventAdjustment(models.Model):
    """A signed correction of one event, added later; the newest one of an event governs.

    A cancelled event stays so until a backfill reinstates it, which begins a new generation: in
    each an event is cancelled once at most.
    """

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    identifier = models.CharField(max_length=128)
    event_id = models.BigIntegerField(db_index=True)
    timestamp = models.DateTimeField()  # The event's, to find it in its partition.
    type = models.CharField(max_length=10, choices=AdjustmentType.choices)
    properties = models.JSONField(null=True, blank=True, decoder=ExactDecoder)
    reason = models.TextField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    backfill = models.ForeignKey(
        "metering.Backfill", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    generation = models.PositiveSmallIntegerField(default=0)

    class Meta:
        db_table = "meter_event_adjustment"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(type="cancel", properties__isnull=True)
                | Q(type="amend", properties__isnull=False)
                | Q(type="reinstate", properties__isnull=False, backfill__isnull=False),
                name="meter_event_adjustment_amend_has_properties",
            ),
            models.UniqueConstraint(
                fields=["event_id", "generation"],
                condition=Q(type="cancel"),
                name="meter_event_adjustment_cancel_once",
            ),
            models.UniqueConstraint(
                fields=["event_id", "generation"],
                condition=Q(type="reinstate"),
                name="meter_event_adjustment_reinstate_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.identifier}"
