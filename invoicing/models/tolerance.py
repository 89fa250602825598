"""Payments that fall short by next to nothing: what is accepted, and what was."""

from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange
from invoicing.models.correction import Payment
from invoicing.models.invoice import Invoice


class PaymentTolerance(models.Model):
    """One version of how much a payment in a currency may fall short and still pay its invoice."""

    currency = models.CharField(max_length=3)
    number = models.PositiveIntegerField()
    most_minor = models.BigIntegerField()  # 0: nothing, from then on.
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "payment_tolerance"
        ordering = ["currency", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["currency", "number"], name="payment_tolerance_once"),
            models.CheckConstraint(
                condition=Q(most_minor__gte=0), name="payment_tolerance_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.currency} tolerance v{self.number}"


class ShortPayment(models.Model):
    """What an invoice's last payment fell short by, and nobody is asked for; append-only.

    The database takes it only for all that is open, within the approved tolerance.
    """

    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="short_payment")
    payment = models.OneToOneField(Payment, on_delete=models.PROTECT, related_name="short_payment")
    tolerance = models.ForeignKey(PaymentTolerance, on_delete=models.PROTECT, related_name="+")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    accepted_at = models.DateTimeField()

    class Meta:
        db_table = "short_payment"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0), name="short_payment_amount_positive"
            )
        ]

    def __str__(self) -> str:
        return f"short payment {self.pk}"
