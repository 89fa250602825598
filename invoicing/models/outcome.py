"""Outcomes that are sold by the piece, and what was decided on them."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from invoicing.models.invoice import InvoiceLine
from invoicing.models.item import PlanItem


class OutcomeState(models.TextChoices):
    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DISPUTED = "disputed"


class Outcome(models.Model):
    """One result that was reported; billed once, and only while it is accepted.

    Append-only but for its state, which the database moves with each decision.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    item = models.ForeignKey(PlanItem, on_delete=models.PROTECT, related_name="+")
    billing_period = models.ForeignKey(
        "credits.BillingPeriod", on_delete=models.PROTECT, related_name="+"
    )
    identifier = models.CharField(max_length=128)  # The sender's name for it.
    occurred_at = models.DateTimeField()
    note = models.CharField(max_length=300, blank=True)
    state = models.CharField(
        max_length=8, choices=OutcomeState.choices, default=OutcomeState.PENDING
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = "outcome"
        ordering = ["-id"]
        permissions = [("decide_outcome", "Can decide on an outcome")]
        constraints = [
            models.UniqueConstraint(fields=["customer", "identifier"], name="outcome_once"),
        ]
        indexes = [models.Index(fields=["billing_period", "state"], name="outcome_period")]

    def __str__(self) -> str:
        return self.identifier


class OutcomeDecision(models.Model):
    """What somebody decided on an outcome; append-only, one after the other."""

    outcome = models.ForeignKey(Outcome, on_delete=models.PROTECT, related_name="decisions")
    sequence = models.PositiveSmallIntegerField()
    state_before = models.CharField(max_length=8, choices=OutcomeState.choices)
    state = models.CharField(max_length=8, choices=OutcomeState.choices)
    reason = models.CharField(max_length=300)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    decided_at = models.DateTimeField()

    class Meta:
        db_table = "outcome_decision"
        ordering = ["outcome", "sequence"]
        constraints = [
            models.UniqueConstraint(
                fields=["outcome", "sequence"], name="outcome_decision_in_order"
            ),
            models.CheckConstraint(
                condition=~Q(state="pending") & ~Q(reason=""), name="outcome_decision_decides"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.outcome_id} {self.state}"


class LineOutcome(models.Model):
    """Which outcomes stand behind a line; frozen with the invoice, and freed if that is void."""

    line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="outcomes")
    outcome = models.ForeignKey(Outcome, on_delete=models.PROTECT, related_name="+")
    is_void = models.BooleanField(default=False, db_default=False)  # Its invoice is: bill it again.

    class Meta:
        db_table = "line_outcome"
        constraints = [
            models.UniqueConstraint(
                fields=["outcome"], condition=Q(is_void=False), name="line_outcome_billed_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.line_id} {self.outcome_id}"
