"""What reduces a claim: payments and credit notes; both append-only."""

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from invoicing.models.entity import MAIN_ENTITY, LegalEntity
from invoicing.models.invoice import Invoice, InvoiceLine


class Payment(models.Model):
    """Money that a customer paid for one invoice; a recovery came after it was written off."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="payments")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    paid_at = models.DateTimeField()
    method = models.CharField(max_length=32)  # "bank_transfer"
    reference = models.CharField(max_length=100)
    is_recovery = models.BooleanField(default=False, db_default=False)
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "payment"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="payment_amount_positive"),
            models.UniqueConstraint(
                fields=["invoice", "method", "reference"], name="payment_reference_once"
            ),
        ]

    def __str__(self) -> str:
        return self.reference


class CreditNoteReason(models.TextChoices):
    BILLING_ERROR = "billing_error"
    DUPLICATE = "duplicate"
    CANCEL_FUTURE = "cancel_future"
    SERVICE_FAILURE = "service_failure"
    GOODWILL = "goodwill"
    PRICE_CONCESSION = "price_concession"
    FRAUDULENT = "fraudulent"
    ORDER_CHANGE = "order_change"
    PRODUCT_UNSATISFACTORY = "product_unsatisfactory"


class CreditNote(models.Model):
    """An issued document that reduces a finalized invoice.

    The part of it that the invoice still owed reduces the receivable; the rest was paid already and
    goes back: `open + balance + refund + out_of_band == total`.
    """

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    entity = models.ForeignKey(  # The invoice's.
        LegalEntity, on_delete=models.PROTECT, related_name="+", db_default=MAIN_ENTITY
    )
    number = models.CharField(max_length=32, unique=True)
    sequence = models.BigIntegerField()
    reason = models.CharField(max_length=24, choices=CreditNoteReason.choices)
    memo = models.TextField(blank=True)
    currency = models.CharField(max_length=3)
    total_minor = models.BigIntegerField()  # Lines with their tax.
    tax_minor = models.BigIntegerField(default=0, db_default=0)
    open_minor = models.BigIntegerField()  # Reduces what the invoice still owes.
    balance_minor = models.BigIntegerField()  # Was paid: pays the customer's next invoices.
    refund_minor = models.BigIntegerField(default=0, db_default=0)  # Was paid: to be refunded.
    out_of_band_minor = models.BigIntegerField(default=0, db_default=0)  # Was paid: is back.
    restored_credits = models.DecimalField(  # Go back to the grants that paid.
        max_digits=38, decimal_places=12, default=Decimal(0), db_default=0
    )
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    issued_at = models.DateTimeField()
    source_key = models.CharField(max_length=120, unique=True)  # The caller's idempotency key.

    class Meta:
        db_table = "credit_note"
        ordering = ["-id"]
        permissions = [
            ("issue_creditnote", "Can issue a credit note"),
            ("issue_large_creditnote", "Can issue a credit note above the policy's limit"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["entity", "sequence"], name="credit_note_sequence_once"
            ),
            models.CheckConstraint(
                condition=Q(
                    total_minor__gte=0, open_minor__gte=0, balance_minor__gte=0,
                    refund_minor__gte=0, out_of_band_minor__gte=0,
                )
                & Q(
                    total_minor=F("open_minor") + F("balance_minor") + F("refund_minor")
                    + F("out_of_band_minor"),
                ),
                name="credit_note_settlement_sums",
            ),
            models.CheckConstraint(
                condition=Q(restored_credits=0, total_minor__gt=0)
                | Q(restored_credits__gt=0, restored_credits__lt=10**24),
                name="credit_note_gives_something",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.number


class CreditNoteVoid(models.Model):
    """A note that was taken back whole: its invoice claims again what the note took off it.

    The database refuses it once money went back for the note, and where the customer's balance has
    less than the note left there.
    """

    credit_note = models.OneToOneField(CreditNote, on_delete=models.PROTECT, related_name="void")
    reason = models.CharField(max_length=500)
    voided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    voided_at = models.DateTimeField()

    class Meta:
        db_table = "credit_note_void"
        ordering = ["-id"]
        permissions = [("void_creditnote", "Can void a credit note")]

    def __str__(self) -> str:
        return f"void of credit note {self.credit_note_id}"


class CreditNoteLine(models.Model):
    """What a credit note takes off one invoice line.

    On overage, the part that takes back what was claimed beyond the usage is evened out: from then
    on it does not count as claimed. It is decided when the note is issued, and stored here for all
    who ask; the rest is a concession. On a line that states credits, the note gives credits back.
    """

    credit_note = models.ForeignKey(CreditNote, on_delete=models.PROTECT, related_name="lines")
    invoice_line = models.ForeignKey(
        InvoiceLine, on_delete=models.PROTECT, related_name="credit_note_lines"
    )
    amount_minor = models.BigIntegerField()  # Net of tax.
    tax_minor = models.BigIntegerField(default=0, db_default=0)
    evened_minor = models.BigIntegerField(default=0)
    evened_credits = models.DecimalField(max_digits=38, decimal_places=12, default=0)
    restored_credits = models.DecimalField(
        max_digits=38, decimal_places=12, default=Decimal(0), db_default=0
    )

    class Meta:
        db_table = "credit_note_line"
        constraints = [
            models.UniqueConstraint(
                fields=["credit_note", "invoice_line"], name="credit_note_line_once"
            ),
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0, restored_credits=0)
                | Q(amount_minor=0, restored_credits__gt=0, restored_credits__lt=10**24),
                name="credit_note_line_money_or_credits",
            ),
            models.CheckConstraint(
                condition=Q(tax_minor__gte=0), name="credit_note_line_tax_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(evened_minor__gte=0, evened_minor__lte=F("amount_minor")),
                name="credit_note_line_evened_within_amount",
            ),
            models.CheckConstraint(
                condition=Q(evened_minor=0, evened_credits=0)
                | Q(evened_minor__gt=0, evened_credits__gt=0, evened_credits__lt=10**24),
                name="credit_note_line_evened_credits",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.credit_note_id}/{self.invoice_line_id}"
