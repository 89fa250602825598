"""Months of raw events that were moved to files: which, where, and what the books prove them by."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class ArchivedMonth(models.Model):
    """One month whose events lie in a verified file; while it is, nothing of it changes.

    `manifest` holds what the tables that stay are compared with: see `archive_sql`.
    """

    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    file_name = models.CharField(max_length=100)
    file_sha256 = models.CharField(max_length=64)
    file_bytes = models.BigIntegerField()
    event_count = models.BigIntegerField()
    manifest = models.JSONField()
    archived_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    archived_at = models.DateTimeField()
    dropped_at = models.DateTimeField(null=True, blank=True)
    restored_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    restored_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "archived_month"
        ordering = ["-start_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["start_at"],
                condition=Q(restored_at__isnull=True),
                name="archived_month_once",
            ),
            models.CheckConstraint(
                condition=Q(restored_at__isnull=True, restored_by__isnull=True)
                | Q(restored_at__isnull=False, restored_by__isnull=False),
                name="archived_month_restored_by",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.start_at:%Y-%m}"
