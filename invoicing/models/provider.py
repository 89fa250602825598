"""What a payment provider or bank did besides paying: fees, overpayments, disputes. Append-only."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from invoicing.models.correction import Payment
from invoicing.models.invoice import Invoice


class Overpayment(models.Model):
    """Money that came for an invoice beyond what it still owed: the customer's balance."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="overpayments")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    paid_at = models.DateTimeField()
    method = models.CharField(max_length=32)
    reference = models.CharField(max_length=100)
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "overpayment"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0), name="overpayment_amount_positive"
            ),
            models.UniqueConstraint(
                fields=["invoice", "method", "reference"], name="overpayment_reference_once"
            ),
        ]

    def __str__(self) -> str:
        return self.reference


class Dispute(models.Model):
    """A customer's bank took a payment back until it is decided who is right."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="disputes")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=40)  # The bank's word: "fraudulent".
    opened_at = models.DateTimeField()
    method = models.CharField(max_length=32)
    reference = models.CharField(max_length=100)
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "dispute"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="dispute_amount_positive"),
            models.UniqueConstraint(fields=["method", "reference"], name="dispute_reference_once"),
        ]

    def __str__(self) -> str:
        return self.reference


class Verdict(models.TextChoices):
    WON = "won"
    LOST = "lost"


class DisputeOutcome(models.Model):
    """How a dispute ended."""

    dispute = models.OneToOneField(Dispute, on_delete=models.PROTECT, related_name="outcome")
    verdict = models.CharField(max_length=4, choices=Verdict.choices)
    decided_at = models.DateTimeField()
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "dispute_outcome"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"dispute {self.dispute_id} {self.verdict}"


class FeeKind(models.TextChoices):
    PAYMENT = "payment"
    DISPUTE = "dispute"


class ProcessorFee(models.Model):
    """What the provider kept of the money that it moved, in the currency that it settles in."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=7, choices=FeeKind.choices)
    payment = models.ForeignKey(
        Payment, on_delete=models.PROTECT, related_name="fees", null=True, blank=True
    )
    dispute = models.ForeignKey(
        Dispute, on_delete=models.PROTECT, related_name="fees", null=True, blank=True
    )
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    charged_at = models.DateTimeField()
    method = models.CharField(max_length=32)
    reference = models.CharField(max_length=100)  # Of the movement that it was taken from.
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "processor_fee"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0), name="processor_fee_amount_positive"
            ),
            models.UniqueConstraint(
                fields=["method", "reference"], name="processor_fee_reference_once"
            ),
        ]

    def __str__(self) -> str:
        return self.reference
