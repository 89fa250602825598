"""How fees become revenue, what losses are, and when statements show what is not paid yet."""

from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange


class Granularity(models.TextChoices):
    DAY = "day", "by day"  # Each day of the service earns alike.
    MONTH = "month", "by month"  # Each month of the service earns alike, its days alike.


class Presentation(models.TextChoices):
    FINALISE = "finalise", "with the invoice"
    DUE = "due", "once due or paid"  # Until then neither the claim nor the liability is shown.
    PAID = "paid", "once paid"  # As by due, however long it has been due.


class DisputeLoss(models.TextChoices):
    """What a lost dispute takes of what was delivered."""

    BY_REASON = "by_reason", "by its reason"  # Fraud is an impairment, the rest a concession.
    CONCESSION = "concession", "a concession"
    IMPAIRMENT = "impairment", "an impairment"


class BadDebt(models.TextChoices):
    """What a write-off takes of what was delivered."""

    EXPENSE = "expense", "an expense"
    CONCESSION = "concession", "a concession"  # The price was never expected in full.


class RecognitionPolicy(models.Model):
    """One version; it is for what is issued, lost or given up, and months that end, in its time."""

    number = models.PositiveIntegerField(unique=True)
    granularity = models.CharField(max_length=5, choices=Granularity.choices)
    presentation = models.CharField(max_length=8, choices=Presentation.choices)
    dispute_loss = models.CharField(
        max_length=10, choices=DisputeLoss.choices, default=DisputeLoss.BY_REASON,
        db_default=DisputeLoss.BY_REASON.value,
    )  # fmt: skip
    bad_debt = models.CharField(
        max_length=10, choices=BadDebt.choices, default=BadDebt.EXPENSE,
        db_default=BadDebt.EXPENSE.value,
    )  # fmt: skip
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "recognition_policy"
        ordering = ["-number"]
        verbose_name_plural = "recognition policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(dispute_loss__in=DisputeLoss.values, bad_debt__in=BadDebt.values),
                name="recognition_policy_losses",
            ),
        ]

    def __str__(self) -> str:
        return f"recognition policy v{self.number}"
