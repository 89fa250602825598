"""How fees become revenue over time, and when statements show what is not due yet."""

from django.db import models

from billing_project.kernel.models import PolicyChange


class Granularity(models.TextChoices):
    DAY = "day", "by day"  # Each day of the service earns alike.
    MONTH = "month", "by month"  # Each month of the service earns alike, its days alike.


class Presentation(models.TextChoices):
    FINALISE = "finalise", "with the invoice"
    DUE = "due", "once due or paid"  # Until then neither the claim nor the liability is shown.


class RecognitionPolicy(models.Model):
    """One version; it is for invoices that are issued, and months that end, while it governs."""

    number = models.PositiveIntegerField(unique=True)
    granularity = models.CharField(max_length=5, choices=Granularity.choices)
    presentation = models.CharField(max_length=8, choices=Presentation.choices)
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "recognition_policy"
        ordering = ["-number"]
        verbose_name_plural = "recognition policies"

    def __str__(self) -> str:
        return f"recognition policy v{self.number}"
