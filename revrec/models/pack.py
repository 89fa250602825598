"""Audit packs: files that hold everything behind a span or some invoices, made by the worker."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class PackState(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class AuditPack(models.Model):
    """What an auditor asked for, and the one file that answers it.

    Either a span, of one customer or of all, or a list of invoices. The file's sha256 is kept, so
    that a pack can be told from another one for ever; the file itself may be removed.
    """

    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    start_at = models.DateTimeField(null=True, blank=True)
    end_at = models.DateTimeField(null=True, blank=True)  # Exclusive.
    invoices = models.JSONField(default=list, blank=True)  # ["INV-000012"]
    reason = models.CharField(max_length=500)
    source_key = models.CharField(max_length=120, unique=True)  # The caller's idempotency key.
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    asked_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=PackState.choices, default=PackState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)  # How often it was begun.
    files_done = models.PositiveSmallIntegerField(default=0)
    file_count = models.PositiveSmallIntegerField(default=0)
    row_count = models.BigIntegerField(default=0)
    byte_count = models.BigIntegerField(default=0)
    content_sha256 = models.CharField(max_length=64, blank=True)
    fault = models.CharField(max_length=500, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "audit_pack"
        ordering = ["-id"]
        permissions = [("make_auditpack", "Can make an audit pack")]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    start_at__isnull=False, end_at__isnull=False, end_at__gt=F("start_at"),
                    invoices=[],
                )
                | Q(start_at__isnull=True, end_at__isnull=True, customer__isnull=True)
                & ~Q(invoices=[]),
                name="audit_pack_span_or_invoices",
            ),
            models.CheckConstraint(
                condition=Q(state="done", finished_at__isnull=False, fault="")
                & ~Q(content_sha256="")
                | Q(state="failed", finished_at__isnull=False, content_sha256="")
                & ~Q(fault="")
                | Q(state__in=["waiting", "running"], finished_at__isnull=True, fault=""),
                name="audit_pack_ends_once",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"audit pack {self.pk}"

    @property
    def is_open(self) -> bool:
        """Tell whether the worker still has to do with it."""
        return self.state in {PackState.WAITING, PackState.RUNNING}

    @property
    def file_name(self) -> str:
        """The name that people keep it under."""
        return f"audit-pack-{self.pk}.zip"
