"""Estimates that revenue rests on: versioned, approved by finance, each with its evidence."""

from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models import PolicyChange
from revrec.breakage import Method
from revrec.models.journal import LedgerAccount
from revrec.variable import EstimateMethod


class BreakageEstimate(models.Model):
    """One version of when credits that nobody uses become revenue, for cohorts of sale months.

    A cohort that no version covers is remote: nothing is recognised before its credits expire.
    """

    code = models.CharField(max_length=64)  # Names the cohorts: "packs-2026".
    number = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    sold_from = models.DateField()  # First day of the first month of sale.
    sold_until = models.DateField(null=True, blank=True)  # Exclusive; NULL: all later months.
    method = models.CharField(max_length=12, choices=[(m.value, m.value) for m in Method])
    rate = models.DecimalField(max_digits=9, decimal_places=8)  # Of the price, 0 to 1.
    # Of credits of commitments that were paid ahead; else of those that were bought.
    of_commitments = models.BooleanField(default=False, db_default=False)
    # Codes of grant terms under which customers may have their money back: never broken before.
    refundable_terms = models.JSONField(default=list, db_default=[], blank=True)
    evidence = models.TextField()
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "breakage_estimate"
        ordering = ["code", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["code", "number"], name="breakage_estimate_once"),
            models.CheckConstraint(
                condition=Q(method="proportional", rate__gt=0, rate__lt=1)
                | (~Q(method="proportional") & Q(rate=0)),
                name="breakage_estimate_rate_of_method",
            ),
            models.CheckConstraint(
                condition=Q(of_commitments=False) | ~Q(method="escheat"),
                name="breakage_estimate_shortfall_is_kept",
            ),
            models.CheckConstraint(
                condition=Q(sold_until__isnull=True) | Q(sold_until__gt=F("sold_from")),
                name="breakage_estimate_half_open",
            ),
            models.CheckConstraint(
                condition=~Q(evidence__regex=r"^\s*$"), name="breakage_estimate_has_evidence"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} v{self.number}"


class VariableEstimate(models.Model):
    """One version of how much of what was billed will be kept; the rest is a refund liability.

    `outcomes` are amounts that may be kept, with their probabilities, as exact text.
    """

    code = models.CharField(max_length=64)  # "acme-rebate-2026"
    number = models.PositiveIntegerField()
    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    currency = models.CharField(max_length=3)
    revenue_account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="+")
    method = models.CharField(max_length=16, choices=[(m.value, m.value) for m in EstimateMethod])
    outcomes = models.JSONField()  # [{"amount": "125000", "probability": "0.9"}, ...]
    confidence = models.DecimalField(max_digits=5, decimal_places=4)
    billed_minor = models.BigIntegerField()
    refund_minor = models.BigIntegerField()  # What of it is expected to go back.
    evidence = models.TextField()
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "variable_estimate"
        ordering = ["code", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["code", "number"], name="variable_estimate_once"),
            models.CheckConstraint(
                condition=Q(refund_minor__gte=0, refund_minor__lte=F("billed_minor")),
                name="variable_estimate_within_billed",
            ),
            models.CheckConstraint(
                condition=Q(confidence__gt=0, confidence__lte=1),
                name="variable_estimate_confidence_is_a_share",
            ),
            models.CheckConstraint(
                condition=~Q(evidence__regex=r"^\s*$"), name="variable_estimate_has_evidence"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} v{self.number}"
