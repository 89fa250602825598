"""What happens to events that come after their period was invoiced, and until when that is."""

from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange
from metering.models.customer import Customer


class LateTreatment(models.TextChoices):
    NEXT_INVOICE = "next_invoice", "next invoice, with the original service dates"
    CREDIT_NOTE = "credit_note", "next invoice, and a credit note over it is proposed"
    QUARANTINE = "quarantine", "quarantine, until a person replays or dismisses it"


class LateEventPolicy(models.Model):
    """One version of the rule for late events: of one customer, or the default for all others."""

    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    number = models.PositiveIntegerField()
    treatment = models.CharField(max_length=16, choices=LateTreatment.choices)
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "late_event_policy"
        verbose_name_plural = "late event policies"
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "number"], nulls_distinct=False, name="late_event_policy_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(treatment="quarantine"),
                name="late_event_policy_quarantine",
            )
        ]

    def __str__(self) -> str:
        whose = "default" if self.customer_id is None else str(self.customer)
        return f"late events, {whose}, v{self.number}"


class InvoicedUsage(models.Model):
    """Usage of a customer in a span of time is invoiced: what comes for it now is late."""

    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    start_at = models.DateTimeField(null=True)  # NULL: all that was before, in rows of old.
    end_at = models.DateTimeField()
    source_key = models.CharField(max_length=120, unique=True)  # "billing_period:4"
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "invoiced_usage"
        verbose_name_plural = "invoiced usage"
        indexes = [models.Index(fields=["customer", "-end_at"], name="invoiced_usage_customer")]
        constraints = [
            models.CheckConstraint(
                condition=Q(start_at__isnull=True) | Q(start_at__lt=models.F("end_at")),
                name="invoiced_usage_ends_after_start",
            )
        ]

    def __str__(self) -> str:
        return self.source_key
