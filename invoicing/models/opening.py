"""What new customers of ours bring along: files of opening items, approved before they count."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange


class OpeningState(models.TextChoices):
    OPEN = "open"  # Waits for its approval, or for the worker.
    APPLIED = "applied"
    CLOSED = "closed"  # Rejected or withdrawn: nothing of it takes effect.


class OpeningImport(models.Model):
    """One file, as it was read; who imported it proposes, and somebody else approves."""

    source = models.CharField(max_length=40)  # Which system it is of: "stripe", "old_billing".
    name = models.CharField(max_length=255)  # The file's.
    content_sha256 = models.CharField(max_length=64)
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=7, choices=OpeningState.choices, default=OpeningState.OPEN)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "opening_import"
        ordering = ["-id"]
        permissions = [("import_openings", "Can import opening balances")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="open", closed_at__isnull=True)
                | Q(state__in=["applied", "closed"], closed_at__isnull=False),
                name="opening_import_ends_once",
            ),
            models.UniqueConstraint(
                fields=["source", "content_sha256"],
                condition=~Q(state="closed"),
                name="opening_import_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.source}"


class OpeningItemState(models.TextChoices):
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"  # `detail` says why; tried again a few times, then by a person.
    CLOSED = "closed"  # Refused with its file, or left behind by a person.


class OpeningItem(models.Model):
    """One thing that a file says: what it becomes, or why it stays with the source.

    The source's own name of it is taken once, whatever files name it.
    """

    opening_import = models.ForeignKey(
        OpeningImport, on_delete=models.PROTECT, related_name="items"
    )
    line = models.PositiveIntegerField()
    source = models.CharField(max_length=40)
    kind = models.CharField(max_length=12)
    source_id = models.CharField(max_length=140)
    customer = models.CharField(max_length=128)  # External id.
    content = models.JSONField()
    state = models.CharField(
        max_length=7, choices=OpeningItemState.choices, default=OpeningItemState.WAITING
    )
    detail = models.CharField(max_length=500, blank=True)
    made = models.CharField(max_length=80, blank=True)  # What it became: "creditgrant:7".
    done_at = models.DateTimeField(null=True, blank=True)
    attempt_count = models.PositiveSmallIntegerField(default=0, db_default=0)
    given_up_at = models.DateTimeField(null=True, blank=True)  # The worker tries it no more.

    class Meta:
        db_table = "opening_item"
        ordering = ["opening_import", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["source", "kind", "source_id"],
                condition=~Q(state="closed"),
                name="opening_item_once",
            ),
            models.CheckConstraint(
                condition=Q(state="waiting", detail="", made="", done_at__isnull=True)
                | Q(state="done", done_at__isnull=False)
                | Q(state="failed", made="") & ~Q(detail="")
                | Q(state="closed", made=""),
                name="opening_item_state",
            ),
            models.CheckConstraint(
                condition=Q(given_up_at__isnull=True) | Q(state="failed"),
                name="opening_item_given_up_failed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.source_id}"


class OpeningExplanation(models.Model):
    """Why what is here of a customer differs from what the source said, as a person says it.

    It is about one difference: where that changes, it explains nothing any more.
    """

    opening_import = models.ForeignKey(
        OpeningImport, on_delete=models.PROTECT, related_name="explanations"
    )
    customer = models.CharField(max_length=128)  # External id.
    what = models.CharField(max_length=40)  # "credits"
    unit = models.CharField(max_length=32, blank=True)
    difference = models.DecimalField(max_digits=38, decimal_places=12)
    reason = models.CharField(max_length=1000)
    explained_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    explained_at = models.DateTimeField()

    class Meta:
        db_table = "opening_explanation"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["opening_import", "customer", "what", "unit", "difference"],
                name="opening_explanation_once",
            ),
            models.CheckConstraint(
                condition=~Q(difference=0) & ~Q(reason__regex=r"^\s*$"),
                name="opening_explanation_says_why",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer} {self.what} {self.unit}".strip()
