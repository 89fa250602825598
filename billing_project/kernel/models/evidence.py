"""What somebody attached to a proposal, so that its approvers decide on it: kept as it was."""

from django.db import models

from billing_project.kernel.models.access import User
from billing_project.kernel.models.policy import PolicyChange


class PolicyEvidence(models.Model):
    """A table of figures with the words that explain it; append-only.

    `document` is {"basis": "...", "columns": ["..."], "rows": [["..."]]}, all of it text.
    """

    change = models.ForeignKey(PolicyChange, on_delete=models.PROTECT, related_name="evidence")
    kind = models.CharField(max_length=40)  # "scenario"
    title = models.CharField(max_length=200)
    document = models.JSONField()
    document_sha256 = models.CharField(max_length=64)
    content_sha256 = models.CharField(max_length=64)  # Of the change, as it was then.
    attached_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    attached_at = models.DateTimeField()

    class Meta:
        db_table = "policy_evidence"
        ordering = ["id"]
        verbose_name_plural = "policy evidence"
        constraints = [
            models.UniqueConstraint(
                fields=["change", "document_sha256"], name="policy_evidence_once"
            ),
        ]

    def __str__(self) -> str:
        return self.title
