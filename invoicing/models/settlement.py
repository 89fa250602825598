"""What notes owe back, and how it goes: as balance that pays next invoices, or as refunds.

All but the balance itself is append-only; the database moves the balance when a fact is inserted.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q

from invoicing.models.correction import CreditNote
from invoicing.models.invoice import Invoice


class CustomerBalance(models.Model):
    """What a customer has with us in one currency: it pays their next invoices.

    Notes and failed refunds add to it, applications and its refunds take from it; no service writes
    it.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    balance_minor = models.BigIntegerField(default=0)

    class Meta:
        db_table = "customer_balance"
        constraints = [
            models.UniqueConstraint(fields=["customer", "currency"], name="customer_balance_once"),
            models.CheckConstraint(
                condition=Q(balance_minor__gte=0), name="customer_balance_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"balance {self.pk} in {self.currency}"


class BalanceApplication(models.Model):
    """What a customer's balance paid of one invoice."""

    invoice = models.ForeignKey(
        Invoice, on_delete=models.PROTECT, related_name="balance_applications"
    )
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    applied_at = models.DateTimeField()
    applied_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        db_table = "balance_application"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0), name="balance_application_amount_positive"
            )
        ]

    def __str__(self) -> str:
        return f"balance applied {self.pk}"


class Refund(models.Model):
    """Money that went back to a customer: within a note's refund part, or out of their balance.

    The method and reference name it where it was made: at the bank or the payment provider.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    credit_note = models.ForeignKey(
        CreditNote, on_delete=models.PROTECT, related_name="refunds", null=True, blank=True
    )  # None: out of the balance.
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    refunded_at = models.DateTimeField()
    method = models.CharField(max_length=32)  # "bank_transfer"
    reference = models.CharField(max_length=100)
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()
    source_key = models.CharField(max_length=120, unique=True)  # The caller's idempotency key.

    class Meta:
        db_table = "refund"
        ordering = ["-id"]
        permissions = [("record_refund", "Can record a refund, or that it failed")]
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="refund_amount_positive"),
            models.UniqueConstraint(
                fields=["credit_note", "method", "reference"], name="refund_reference_once"
            ),
            models.UniqueConstraint(
                fields=["customer", "method", "reference"],
                condition=Q(credit_note__isnull=True),
                name="refund_of_balance_reference_once",
            ),
        ]

    def __str__(self) -> str:
        return self.reference


class RefundFailure(models.Model):
    """A refund came back whole: it is the customer's balance from then on."""

    refund = models.OneToOneField(Refund, on_delete=models.PROTECT, related_name="failure")
    failed_at = models.DateTimeField()
    reason = models.CharField(max_length=500)
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "refund_failure"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"failure of refund {self.refund_id}"
