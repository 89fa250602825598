"""Work on a backfill that the worker does: asked for once, in chunks, taken up after a kill."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from metering.models.backfill import Backfill


class BackfillWork(models.TextChoices):
    UPLOAD = "upload"  # Read the lines of a file.
    PREVIEW = "preview"  # Try the range, and keep what it would change.
    SUBMIT = "submit"  # Preview the range and propose it.
    APPLY = "apply"
    REVERT = "revert"


class BackfillRunState(models.TextChoices):
    WAITING = "waiting"  # The worker takes it; also after a fault that may pass.
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"  # Refused, unreadable, or stopped too often.


class BackfillRun(models.Model):
    """One piece of work on a backfill; its effect and its end are one transaction.

    An upload moves its place with the lines of each chunk. The others change all or nothing.
    """

    backfill = models.ForeignKey(Backfill, on_delete=models.PROTECT, related_name="runs")
    kind = models.CharField(max_length=10, choices=BackfillWork.choices)
    state = models.CharField(
        max_length=10, choices=BackfillRunState.choices, default=BackfillRunState.WAITING
    )
    reason = models.TextField(blank=True)  # Why it is reverted.
    effect = models.JSONField(null=True, blank=True)  # What a preview found.
    name = models.CharField(max_length=255, blank=True)  # As its sender calls the file.
    stored_name = models.CharField(max_length=120, blank=True)  # In IMPORT_DIR.
    format = models.CharField(max_length=10, blank=True)
    size_bytes = models.BigIntegerField(default=0)
    read_bytes = models.BigIntegerField(default=0)  # In the file, which may be compressed.
    byte_offset = models.BigIntegerField(default=0)  # In the plain text.
    line_count = models.BigIntegerField(default=0)
    accepted_count = models.BigIntegerField(default=0)
    repeated_count = models.BigIntegerField(default=0)
    refused_count = models.BigIntegerField(default=0)
    step = models.CharField(max_length=60, blank=True)  # What it does just now, in words.
    done_count = models.BigIntegerField(default=0)
    total_count = models.BigIntegerField(default=0)  # 0: not known.
    attempt_count = models.PositiveSmallIntegerField(default=0)  # Since something got done.
    not_before = models.DateTimeField(null=True, blank=True)  # Waits after a fault.
    fault = models.TextField(blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "backfill_run"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["backfill"],
                condition=Q(state__in=["waiting", "running"]),
                name="backfill_run_one_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "running"], finished_at__isnull=True)
                | Q(state__in=["finished", "failed"], finished_at__isnull=False),
                name="backfill_run_finished_at",
            ),
            models.CheckConstraint(
                condition=~Q(state="failed") | ~Q(fault=""), name="backfill_run_failed_says_why"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of backfill {self.backfill_id}"

    @property
    def is_open(self) -> bool:
        """Tell whether work may be left to do."""
        return self.state in {BackfillRunState.WAITING, BackfillRunState.RUNNING}

    @property
    def percent(self) -> int:
        """How much is done: of a file what is read, of other work what was counted so far."""
        if self.state == BackfillRunState.FINISHED:
            return 100
        if self.kind == BackfillWork.UPLOAD:
            return min(self.read_bytes * 100 // max(self.size_bytes, 1), 99)
        return min(self.done_count * 100 // max(self.total_count, 1), 99)
