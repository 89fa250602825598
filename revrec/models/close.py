"""What a month was closed in spite of, signed by whoever answers for it."""

from django.conf import settings
from django.db import models

from billing_project.kernel.models import ChainStep
from revrec.models.journal import AccountingPeriod


class CloseException(models.Model):
    """One finding that does not keep a month open; append-only.

    It covers what it says and no more: where the finding grows or changes, it is signed anew.
    """

    period = models.ForeignKey(AccountingPeriod, on_delete=models.PROTECT, related_name="+")
    item = models.CharField(max_length=20)  # Code of the checklist: "quarantine".
    step = models.CharField(max_length=12, choices=ChainStep.choices)
    says = models.CharField(max_length=500)
    reason = models.TextField()
    signed_at = models.DateTimeField()
    signed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        db_table = "close_exception"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["period", "item", "says"], name="close_exception_once"),
            models.CheckConstraint(
                condition=~models.Q(reason__regex=r"^\s*$"), name="close_exception_has_reason"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.period}: {self.item}"
