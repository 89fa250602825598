"""Files of events that were brought in, how far each came, and the lines that were not accepted."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class ImportState(models.TextChoices):
    WAITING = "waiting"  # Uploaded; the worker takes it.
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"  # The file itself cannot be read.


class ImportRun(models.Model):
    """One file on its way in; its place moves with the events of each batch, in one transaction."""

    name = models.CharField(max_length=255)  # As its sender calls the file.
    stored_name = models.CharField(max_length=100, blank=True)  # In IMPORT_DIR, if uploaded.
    format = models.CharField(max_length=10)
    content_sha256 = models.CharField(max_length=64, blank=True)  # Empty for a pipe.
    size_bytes = models.BigIntegerField(default=0)
    history_since = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    started_at = models.DateTimeField()
    state = models.CharField(
        max_length=10, choices=ImportState.choices, default=ImportState.RUNNING
    )
    fault = models.TextField(blank=True)
    byte_offset = models.BigIntegerField(default=0)  # In the plain text.
    read_bytes = models.BigIntegerField(default=0)  # In the file, which may be compressed.
    line_count = models.BigIntegerField(default=0)
    record_count = models.BigIntegerField(default=0)
    accepted_count = models.BigIntegerField(default=0)
    duplicate_count = models.BigIntegerField(default=0)
    conflict_count = models.BigIntegerField(default=0)
    quarantined_count = models.BigIntegerField(default=0)
    rejected_count = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "import_run"
        ordering = ["-id"]
        permissions = [("import_events", "Can import files of events")]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    record_count=F("accepted_count")
                    + F("duplicate_count")
                    + F("conflict_count")
                    + F("quarantined_count")
                    + F("rejected_count")
                ),
                name="import_run_counts_add_up",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "running"], finished_at__isnull=True)
                | Q(state__in=["finished", "failed"], finished_at__isnull=False),
                name="import_run_finished_at",
            ),
            models.UniqueConstraint(
                fields=["content_sha256"],
                condition=Q(state__in=["waiting", "running"]) & ~Q(content_sha256=""),
                name="import_run_open_once",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        """Tell whether lines may be left to read."""
        return self.state in {ImportState.WAITING, ImportState.RUNNING}

    @property
    def refused_count(self) -> int:
        """Lines that stored nothing: rejected, or in conflict with a stored event."""
        return self.rejected_count + self.conflict_count


class ImportedLine(models.Model):
    """A line that was not plainly accepted: where it stands, what it says, why; append-only."""

    run = models.ForeignKey(ImportRun, on_delete=models.PROTECT, related_name="lines")
    line = models.BigIntegerField()
    identifier = models.CharField(max_length=128, blank=True)
    status = models.CharField(max_length=12)
    code = models.CharField(max_length=40)
    detail = models.TextField()
    content = models.TextField()  # As it came; what is no text is marked.

    class Meta:
        db_table = "imported_line"
        constraints = [
            models.UniqueConstraint(fields=["run", "line"], name="imported_line_once"),
        ]

    def __str__(self) -> str:
        return f"line {self.line}"
