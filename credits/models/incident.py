"""Incidents with what was done about them, their evidence, and the weekly look at all controls."""

from django.conf import settings
from django.db import models
from django.db.models import F, Func, Q

from credits.models.anomaly import Anomaly


class IncidentState(models.TextChoices):
    OPEN = "open"
    CONTAINED = "contained"  # It goes on no more; why and what follows is not settled yet.
    RESOLVED = "resolved"


class Incident(models.Model):
    """Something that went wrong, who looks after it, and how it ended."""

    title = models.CharField(max_length=200)
    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    anomaly = models.OneToOneField(
        Anomaly, on_delete=models.PROTECT, related_name="incident", null=True, blank=True
    )
    start_at = models.DateTimeField()  # What it is about.
    end_at = models.DateTimeField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(
        max_length=9, choices=IncidentState.choices, default=IncidentState.OPEN
    )
    opened_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    opened_at = models.DateTimeField()
    resolution = models.TextField(blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    resolved_at = models.DateTimeField(null=True, blank=True)
    source_key = models.CharField(max_length=120, unique=True)

    class Meta:
        db_table = "incident"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(end_at__gt=F("start_at")), name="incident_half_open"
            ),
            models.CheckConstraint(
                condition=(
                    Q(state="resolved", resolved_by__isnull=False, resolved_at__isnull=False)
                    & ~Q(resolution="")
                )
                | Q(
                    state__in=["open", "contained"], resolved_by__isnull=True,
                    resolved_at__isnull=True, resolution="",
                ),
                name="incident_resolved_by_someone",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"INC-{self.pk} {self.title}"


class IncidentAction(models.Model):
    """One thing that was done about an incident; append-only."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="actions")
    what = models.TextField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        db_table = "incident_action"
        ordering = ["id"]

    def __str__(self) -> str:
        return self.what[:80]


class IncidentEvidence(models.Model):
    """An evidence pack as it was made: a report as PDF, and the rows behind it as ZIP; append-only.

    `files` names what is in the ZIP, with rows and hash of each.
    """

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="evidence")
    pdf = models.BinaryField()
    pdf_sha256 = models.BinaryField(max_length=32)
    archive = models.BinaryField()
    archive_sha256 = models.BinaryField(max_length=32)
    files = models.JSONField(default=list)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    made_at = models.DateTimeField()

    class Meta:
        db_table = "incident_evidence"
        ordering = ["-id"]
        verbose_name_plural = "incident evidence"
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    pdf_sha256=Func(F("pdf"), function="sha256", output_field=models.BinaryField()),
                    archive_sha256=Func(
                        F("archive"), function="sha256", output_field=models.BinaryField()
                    ),
                ),
                name="incident_evidence_sha256",
            )
        ]

    def __str__(self) -> str:
        return f"evidence {self.pk} of {self.incident}"

    @property
    def pdf_digest(self) -> str:
        """Return the hash of the report as people compare it."""
        return bytes(self.pdf_sha256).hex()

    @property
    def archive_digest(self) -> str:
        """Return the hash of the archive as people compare it."""
        return bytes(self.archive_sha256).hex()


class ControlCheckpoint(models.Model):
    """What the controls did in a week, as it was prepared; a named person signs it, once."""

    start_on = models.DateField(unique=True)  # A Monday.
    end_on = models.DateField()  # Exclusive.
    document = models.JSONField()
    document_sha256 = models.CharField(max_length=64)
    prepared_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    prepared_at = models.DateTimeField()
    signed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    signed_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True)

    class Meta:
        db_table = "control_checkpoint"
        ordering = ["-start_on"]
        permissions = [("sign_controlcheckpoint", "Can sign the weekly checkpoint of controls")]
        constraints = [
            models.CheckConstraint(
                condition=Q(end_on__gt=F("start_on")), name="control_checkpoint_half_open"
            ),
            models.CheckConstraint(
                condition=Q(signed_by__isnull=True, signed_at__isnull=True)
                | Q(signed_by__isnull=False, signed_at__isnull=False),
                name="control_checkpoint_signed_by_someone",
            ),
        ]

    def __str__(self) -> str:
        return f"week of {self.start_on}"
