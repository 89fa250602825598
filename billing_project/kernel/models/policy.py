"""Policy changes: what was proposed, on whose wish, and who approved it."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models.access import User


class PolicyStatus(models.TextChoices):
    DRAFT = "draft"  # May still be edited; nobody decides on it.
    SUBMITTED = "submitted"  # Immutable; waits for its approvals.
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"  # By whoever proposed it, before it was decided.


class ApprovalFunction(models.TextChoices):
    FINANCE = "finance"
    LEGAL = "legal"


def in_force(at: datetime, path: str = "") -> Q:
    """Match approved changes that have begun and not expired at an instant.

    Of several versions of one rule that match, the one with the latest effective date governs, and
    the newest of those.

    Args:
        path: Lookup path from the queried rows to the change ("policy_change__").
    """
    begun = Q((f"{path}status", PolicyStatus.APPROVED), (f"{path}effective_at__lte", at))
    expires = f"{path}expires_at"
    return begun & (Q((f"{expires}__isnull", True)) | Q((f"{expires}__gt", at)))


def _finance() -> list[str]:
    return [ApprovalFunction.FINANCE]


class PolicyChange(models.Model):
    """A version of a rule; governs only once all who must have approved it, none its proposer.

    A draft may be edited. What is submitted never changes: a better one replaces it, and starts
    without any approval. "Effective" and "superseded" are derived (`policy_states`).
    """

    kind = models.CharField(max_length=40)  # "rate_card", "plan", "credit_policy"
    subject = models.CharField(max_length=120, blank=True)  # "rate_card:standard:2"; drafts: "".
    title = models.CharField(max_length=200)
    product_requirement = models.TextField()
    engineering_note = models.TextField()
    reason_code = models.CharField(max_length=40)
    effective_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)  # Exclusive; NULL: until replaced.
    content = models.TextField(help_text="Canonical JSON of the whole version.")
    content_sha256 = models.CharField(max_length=64)
    needs = models.JSONField(default=_finance)  # Functions that approve: ["finance", "legal"].
    effect = models.JSONField(null=True, blank=True)  # As simulated at submission (`effects`).
    replaces = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    proposed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField()
    status = models.CharField(
        max_length=10, choices=PolicyStatus.choices, default=PolicyStatus.SUBMITTED
    )
    decided_by = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.TextField(blank=True)

    class Meta:
        db_table = "policy_change"
        ordering = ["-id"]
        permissions = [
            ("propose_policychange", "Can propose a policy change"),
            ("approve_policychange", "Can approve or reject a policy change"),
            ("approve_policychange_legal", "Can approve or reject a policy change for legal"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["subject"], condition=~Q(subject=""), name="policy_change_subject_once"
            ),
            models.CheckConstraint(
                condition=~Q(subject="") | Q(status__in=["draft", "withdrawn"]),
                name="policy_change_submitted_has_subject",
            ),
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True)
                | ~Q(decided_by=F("proposed_by"))
                | Q(status="withdrawn"),
                name="policy_change_four_eyes",
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=["draft", "submitted"],
                    decided_by__isnull=True,
                    decided_at__isnull=True,
                )
                | Q(
                    status__in=["approved", "rejected", "withdrawn"],
                    decided_by__isnull=False,
                    decided_at__isnull=False,
                ),
                name="policy_change_decided_by_someone",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("effective_at")),
                name="policy_change_expires_later",
            ),
        ]

    def __str__(self) -> str:
        return self.title


class PolicyApproval(models.Model):
    """One person's approval of a submitted change, for one function; append-only."""

    change = models.ForeignKey(PolicyChange, on_delete=models.PROTECT, related_name="approvals")
    function = models.CharField(max_length=10, choices=ApprovalFunction.choices)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    sha256 = models.CharField(max_length=64)  # Of content, words and dates (`signing`).
    reason = models.TextField()

    class Meta:
        db_table = "policy_approval"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["change", "function"], name="policy_approval_once"),
            models.UniqueConstraint(fields=["change", "by"], name="policy_approval_two_people"),
        ]

    def __str__(self) -> str:
        return f"{self.function}: {self.by}"
