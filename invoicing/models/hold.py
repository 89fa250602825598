"""What is kept from being issued until a person lets it go: doubts, and approvals asked for."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange
from invoicing.models.invoice import Invoice


class HoldCause(models.TextChoices):
    APPROVAL = "approval", "the policy asks for an approval"
    INCOMPLETE = "incomplete", "usage of its period is not billed and not excluded"
    BOUNDS = "bounds", "larger than a run may make"
    MARKET = "market", "its market is not open, or lacks an approved rate or seller"
    REJECTED = "rejected", "the draft of its usage was rejected"
    FAULT = "fault", "it could not be made"


class BillingHold(models.Model):
    """An invoice, or a period's draft, that runs pass by until it is released, with a reason.

    One stands for a subject at most. One for a closed market is released by the worker once it is
    open; all others by a person. What was released for a cause in just these words is not held
    for it again; other words are another doubt.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    invoice = models.ForeignKey(
        Invoice, on_delete=models.PROTECT, related_name="holds", null=True, blank=True
    )
    subject = models.CharField(max_length=60)  # "invoice:12", "billing_period:4"
    cause = models.CharField(max_length=10, choices=HoldCause.choices)
    detail = models.CharField(max_length=500)
    opened_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)
    released_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    release_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "billing_hold"
        ordering = ["-id"]
        permissions = [
            ("release_billinghold", "Can release what billing holds in doubt"),
            ("approve_invoice", "Can approve an invoice that the policy holds"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["subject"],
                condition=Q(released_at__isnull=True),
                name="billing_hold_one_open",
            ),
            models.CheckConstraint(
                condition=Q(
                    released_at__isnull=True, released_by__isnull=True, release_reason=""
                )
                | Q(
                    released_at__isnull=False, released_by__isnull=False, release_reason__gt="",
                ),
                name="billing_hold_released_by_someone",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"hold of {self.subject}"


class DraftRejection(models.Model):
    """A held draft that an approver rejected; it claims nothing any more. Append-only.

    What it claimed of usage waits, held for its period; fees, seats and packs are given up.
    """

    hold = models.OneToOneField(BillingHold, on_delete=models.PROTECT, related_name="rejection")
    total_minor = models.BigIntegerField()  # What the draft came to, with its tax.
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=500)
    rejected_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    rejected_at = models.DateTimeField()

    class Meta:
        db_table = "draft_rejection"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(reason__gt="") & Q(total_minor__gte=0), name="draft_rejection_says_why"
            )
        ]

    def __str__(self) -> str:
        return f"rejection of {self.hold}"


class InvoicePolicy(models.Model):
    """One version of what needs an approval before it is issued, and of the bounds of a run."""

    number = models.PositiveIntegerField(unique=True)
    approval_above = models.JSONField()  # {"USD": 1000000}: minor units, by currency.
    approves_first = models.BooleanField()  # The first invoice of each customer.
    notes_above = models.JSONField()  # Credit notes of support above it are finance's.
    most_lines = models.PositiveIntegerField()  # Of one draft.
    most_drafts = models.PositiveIntegerField()  # Of one billing period's usage.
    invoices_covered = models.BooleanField(  # A period that owes nothing states its credits.
        default=False, db_default=False
    )
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "invoice_policy"
        ordering = ["-number"]
        verbose_name_plural = "invoice policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(most_lines__gt=0, most_drafts__gt=0), name="invoice_policy_bounds"
            )
        ]

    def __str__(self) -> str:
        return f"invoice policy v{self.number}"
