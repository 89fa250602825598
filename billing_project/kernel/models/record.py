"""What was done, what was answered, and what waits for the next step of the chain."""

from django.db import models

from billing_project.kernel.models.access import ApiKey, User


class AuditEntry(models.Model):
    """One action of a person or service on one object, with its reason; append-only."""

    at = models.DateTimeField(db_index=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=120, db_index=True)  # "invoice:42"
    reason = models.TextField(blank=True)
    facts = models.JSONField(default=dict)

    class Meta:
        db_table = "audit_entry"
        ordering = ["-id"]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"


class IdempotencyRecord(models.Model):
    """The stored answer to one key of one caller; append-only."""

    api_key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=255)
    route = models.CharField(max_length=200)
    request_sha256 = models.CharField(max_length=64)
    response_status = models.PositiveSmallIntegerField()
    response_body = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "idempotency_record"
        constraints = [
            models.UniqueConstraint(
                fields=["api_key", "key"], name="idempotency_record_once_per_caller"
            )
        ]

    def __str__(self) -> str:
        return self.key


class OutboxMessage(models.Model):
    """A note, written with its effect, that a later step has something to take up.

    Many notes for one object mean no more than one: the taker deletes all it can see of an object
    and then reads the object's whole state, so a lost or doubled task changes nothing. Where an
    object's state is long, a note may name the parts that changed.
    """

    topic = models.CharField(max_length=40)
    object_id = models.BigIntegerField()
    parts = models.JSONField(null=True, blank=True)  # [ids], ascending; NULL: all of it.
    created_at = models.DateTimeField()

    class Meta:
        db_table = "outbox_message"
        indexes = [models.Index(fields=["topic", "object_id"], name="outbox_message_topic")]

    def __str__(self) -> str:
        return f"{self.topic}:{self.object_id}"
