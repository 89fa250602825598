"""What customers were sent: the bytes of each issued invoice, set once and kept."""

from django.db import models
from django.db.models import F, Func, Q

from invoicing.models.correction import CreditNote
from invoicing.models.invoice import Invoice


class InvoiceDocument(models.Model):
    """The PDF of an issued invoice, as it was issued; it is never set again."""

    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="document")
    content = models.BinaryField()
    content_sha256 = models.BinaryField(max_length=32)
    set_at = models.DateTimeField()

    class Meta:
        db_table = "invoice_document"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    content_sha256=Func(
                        F("content"), function="sha256", output_field=models.BinaryField()
                    )
                ),
                name="invoice_document_sha256",
            )
        ]

    def __str__(self) -> str:
        return f"document of invoice {self.invoice_id}"

    @property
    def sha256(self) -> str:
        """Return the hash as people compare it."""
        return bytes(self.content_sha256).hex()


class CreditNoteDocument(models.Model):
    """The PDF of a credit note, as it was issued; it is never set again."""

    credit_note = models.OneToOneField(
        CreditNote, on_delete=models.PROTECT, related_name="document"
    )
    content = models.BinaryField()
    content_sha256 = models.BinaryField(max_length=32)
    set_at = models.DateTimeField()

    class Meta:
        db_table = "credit_note_document"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    content_sha256=Func(
                        F("content"), function="sha256", output_field=models.BinaryField()
                    )
                ),
                name="credit_note_document_sha256",
            )
        ]

    def __str__(self) -> str:
        return f"document of credit note {self.credit_note_id}"

    @property
    def sha256(self) -> str:
        """Return the hash as people compare it."""
        return bytes(self.content_sha256).hex()
