"""Credit notes that the worker proposes and a person decides on."""

from decimal import Decimal

from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange
from invoicing.models.correction import CreditNote
from invoicing.models.invoice import InvoiceLine


class ProposalCause(models.TextChoices):
    OVERCHARGE = "overcharge"  # More is claimed than was used, since usage was corrected.
    REQUESTED = "requested"  # By a person, above what they may credit themselves.
    LATE_USAGE = "late_usage"  # The customer's rule for late events asks for a decision.


class ProposalState(models.TextChoices):
    OPEN = "open"
    ISSUED = "issued"
    CLOSED = "closed"  # Withdrawn, rejected, or overtaken by what happened before it was issued.


class ProposedCreditNote(models.Model):
    """An amount to take off one invoice line, or credits to give back of one that states them.

    The policy change carries the decision on it.
    """

    invoice_line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="+")
    number = models.PositiveIntegerField()  # Of the line's proposals.
    cause = models.CharField(max_length=12, choices=ProposalCause.choices)
    amount_minor = models.BigIntegerField()
    restored_credits = models.DecimalField(
        max_digits=38, decimal_places=12, default=Decimal(0), db_default=0
    )
    currency = models.CharField(max_length=3)
    facts = models.JSONField()  # What was claimed and used, and the adjustments that made it so.
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(
        max_length=6, choices=ProposalState.choices, default=ProposalState.OPEN
    )
    credit_note = models.OneToOneField(
        CreditNote, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "proposed_credit_note"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["invoice_line", "number"], name="proposed_credit_note_once"
            ),
            models.UniqueConstraint(
                fields=["invoice_line", "cause"],
                condition=Q(state="open"),
                name="proposed_credit_note_one_open",
            ),
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0, restored_credits=0)
                | Q(amount_minor=0, restored_credits__gt=0, restored_credits__lt=10**24),
                name="proposed_credit_note_money_or_credits",
            ),
            models.CheckConstraint(
                condition=Q(state="open", credit_note__isnull=True, closed_at__isnull=True)
                | Q(state="issued", credit_note__isnull=False, closed_at__isnull=False)
                | Q(state="closed", credit_note__isnull=True, closed_at__isnull=False),
                name="proposed_credit_note_issued_has_note",
            ),
        ]

    def __str__(self) -> str:
        return f"proposed credit of line {self.invoice_line_id}, {self.number}"
