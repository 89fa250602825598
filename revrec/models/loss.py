"""Losses that are expected of receivables: versioned, approved by finance, with their evidence."""

from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange


class LossEstimate(models.Model):
    """One version of which share of open invoices will never be paid, by how late they are.

    `rates` are shares by the buckets of the receivable ageing, 0 to 1, as exact text.
    """

    currency = models.CharField(max_length=3)
    number = models.PositiveIntegerField()
    rates = models.JSONField()  # {"not_due": "0.005", "over_90": "0.5"}
    evidence = models.TextField()
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "loss_estimate"
        ordering = ["currency", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["currency", "number"], name="loss_estimate_once"),
            models.CheckConstraint(
                condition=~Q(evidence__regex=r"^\s*$"), name="loss_estimate_has_evidence"
            ),
        ]

    def __str__(self) -> str:
        return f"losses in {self.currency} v{self.number}"
