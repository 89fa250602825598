"""What a plan version sells beside its base fee, its included credits and its overage."""

from django.db import models
from django.db.models import Q

from invoicing.models.plan import PlanVersion


class ItemKind(models.TextChoices):
    RECURRING = "recurring"  # A further fee, each period.
    SEAT = "seat"  # A fee for each seat, each period.
    OUTCOME = "outcome"  # A price for each accepted outcome.
    COMMIT = "commit"  # A minimum over its term; what is missing is claimed.
    ONE_OFF = "one_off"  # A fee claimed once.
    CREDIT_PACK = "credit_pack"  # Credits at a price, sold on demand.
    COMMITMENT = "commitment"  # Credits for a term, paid ahead of each; what is left ends with it.
    DISCOUNT = "discount"  # Takes a share or an amount off fees.


class ItemTiming(models.TextChoices):
    ADVANCE = "advance"
    ARREARS = "arrears"


class PlanItem(models.Model):
    """One thing that a plan version sells; immutable, and approved with its version.

    Money is in the version's currency. What a column means follows from the kind; see
    `invoicing.items`.
    """

    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="items")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=12, choices=ItemKind.choices)
    code = models.CharField(max_length=40)
    name = models.CharField(max_length=100)
    amount_minor = models.BigIntegerField(default=0)
    percent = models.DecimalField(max_digits=6, decimal_places=3, null=True, blank=True)
    credits = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    timing = models.CharField(max_length=7, choices=ItemTiming.choices)
    periods = models.PositiveSmallIntegerField(default=1)
    kinds = models.JSONField(default=list, blank=True)  # ["overage", "outcome"]

    class Meta:
        db_table = "plan_item"
        ordering = ["plan_version", "position"]
        constraints = [
            models.UniqueConstraint(fields=["plan_version", "code"], name="plan_item_code_once"),
            models.UniqueConstraint(
                fields=["plan_version", "position"], name="plan_item_position_once"
            ),
            models.CheckConstraint(
                condition=Q(amount_minor__gte=0, amount_minor__lt=10**15, periods__lte=120),
                name="plan_item_bounds",
            ),
            models.CheckConstraint(
                condition=Q(percent__isnull=True)
                | Q(kind="discount", amount_minor=0, percent__gt=0, percent__lte=100),
                name="plan_item_percent",
            ),
            models.CheckConstraint(
                condition=Q(credits__isnull=False, credits__gt=0, credits__lt=10**24)
                & Q(kind__in=["credit_pack", "commitment"])
                | Q(credits__isnull=True) & ~Q(kind__in=["credit_pack", "commitment"]),
                name="plan_item_credits",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan_version} {self.code}"
