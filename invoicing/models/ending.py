"""How an issued claim ends unpaid: taken back as if never made, or given up; both append-only."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from invoicing.models.invoice import Invoice


class InvoiceVoid(models.Model):
    """An invoice that nothing settled yet was taken back whole; its usage is billable again."""

    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="void")
    reason = models.CharField(max_length=500)
    voided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    voided_at = models.DateTimeField()

    class Meta:
        db_table = "invoice_void"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"void of invoice {self.invoice_id}"


class WriteOff(models.Model):
    """What an invoice still owed is not expected any more; what comes nevertheless is a recovery.

    The claim itself stands: the customer still owes it.
    """

    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="write_off")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=500)
    written_off_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    written_off_at = models.DateTimeField()

    class Meta:
        db_table = "write_off"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0), name="write_off_amount_positive"
            )
        ]

    def __str__(self) -> str:
        return f"write-off of invoice {self.invoice_id}"
