"""How a customer's usage is invoiced: on one invoice, or on one for each workspace."""

from django.conf import settings
from django.db import models


class SplitBy(models.TextChoices):
    NOTHING = "nothing", "one invoice"
    WORKSPACE = "workspace", "one for each workspace"


class InvoiceSplit(models.Model):
    """What a customer wants from some instant on; the newest counts for what is issued next."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    split_by = models.CharField(max_length=10, choices=SplitBy.choices)
    reason = models.CharField(max_length=500)
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "invoice_split"
        ordering = ["-id"]
        permissions = [("record_invoicesplit", "Can say how a customer's usage is invoiced")]

    def __str__(self) -> str:
        return f"{self.customer}: {self.get_split_by_display()}"
