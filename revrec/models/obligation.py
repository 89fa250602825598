"""Promises whose satisfaction earns revenue, and the plan by which fees are earned."""

from django.db import models
from django.db.models import F, Q


class ObligationKind(models.TextChoices):
    FEE = "fee"  # Ratable by day; liability 2120.
    CREDITS = "credits"  # Earned as a paid grant is drawn; liability 2100.
    OVERAGE = "overage"  # Earned as used, invoiced later; receivable 1200.
    ARREARS = "arrears"  # A fee that was invoiced after its days; unbilled until then, on 1200.
    OUTCOME = "outcome"  # Earned as outcomes are accepted, invoiced later; receivable 1200.
    COMMITMENT = "commitment"  # As credits; what its term leaves unused is a shortfall.
    SHORTFALL = "shortfall"  # Earned with the end of its term, invoiced later; contract asset 1210.


# Credits that were paid for ahead of their use; liability 2100.
PREPAID_CREDITS = (ObligationKind.CREDITS, ObligationKind.COMMITMENT)


class PerformanceObligation(models.Model):
    """One promise: its price, and how much of it is recognised.

    `price_minor` starts as the invoiced amount and falls with each credit note. `recognised_minor`
    is net of what credit notes took back. Both follow postings. Overage is earned as it is used:
    its price and what is recognised of it move as one.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=12, choices=ObligationKind.choices)
    invoice_line = models.ForeignKey(
        "invoicing.InvoiceLine", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    grant = models.OneToOneField(
        "credits.CreditGrant", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    billing_period = models.ForeignKey(
        "credits.BillingPeriod", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    currency = models.CharField(max_length=3)
    price_minor = models.BigIntegerField()
    recognised_minor = models.BigIntegerField(default=0)
    source_key = models.CharField(max_length=120, unique=True)  # "invoice_line:9"

    class Meta:
        db_table = "performance_obligation"
        constraints = [
            models.CheckConstraint(
                condition=Q(recognised_minor__gte=0, recognised_minor__lte=F("price_minor"))
                | Q(kind="overage", recognised_minor=F("price_minor")),
                name="performance_obligation_recognised_within_price",
            ),
        ]
        indexes = [models.Index(fields=["customer", "kind"], name="performance_obligation_owner")]

    def __str__(self) -> str:
        return self.source_key


class RevenueSchedule(models.Model):
    """One revision of the plan by which a fee becomes revenue, day by day; append-only."""

    obligation = models.ForeignKey(
        PerformanceObligation, on_delete=models.PROTECT, related_name="schedules"
    )
    revision = models.PositiveIntegerField()
    price_minor = models.BigIntegerField()
    start_on = models.DateField()
    end_on = models.DateField()  # Exclusive.
    pattern = models.CharField(max_length=5, default="day", db_default="day")  # Or "month".
    created_at = models.DateTimeField()

    class Meta:
        db_table = "revenue_schedule"
        constraints = [
            models.UniqueConstraint(
                fields=["obligation", "revision"], name="revenue_schedule_once"
            ),
            models.CheckConstraint(
                condition=Q(pattern__in=["day", "month"]), name="revenue_schedule_pattern"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.obligation_id} r{self.revision}"


class RevenueScheduleLine(models.Model):
    """What one service day of a schedule earns."""

    schedule = models.ForeignKey(RevenueSchedule, on_delete=models.PROTECT, related_name="lines")
    service_on = models.DateField()
    amount_minor = models.BigIntegerField()

    class Meta:
        db_table = "revenue_schedule_line"
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "service_on"], name="revenue_schedule_line_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.service_on}"
