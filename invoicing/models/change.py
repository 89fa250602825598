"""What was changed about a subscription, and from when on it holds."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from invoicing.models.plan import PlanVersion, Subscription


class ChangeKind(models.TextChoices):
    PLAN = "plan"
    TRIAL = "trial"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


class SubscriptionChange(models.Model):
    """One change from an instant on: append-only; undoing it before then is all that is set later.

    The plan and the standing of a subscription at an instant are the fold of its changes until
    then; the database refuses two of either at one instant, and a plan from before a period that
    has begun.
    """

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="changes")
    kind = models.CharField(max_length=6, choices=ChangeKind.choices)
    plan_version = models.ForeignKey(
        PlanVersion, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    effective_at = models.DateTimeField()
    credits_unused = models.BooleanField(default=True)  # What was paid ahead and is not used.
    reason = models.CharField(max_length=1000)
    source_key = models.CharField(max_length=120, unique=True)  # The caller's idempotency key.
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    undo_reason = models.CharField(max_length=1000, blank=True)

    class Meta:
        db_table = "subscription_change"
        ordering = ["-effective_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="plan", plan_version__isnull=False)
                | (~Q(kind="plan") & Q(plan_version__isnull=True)),
                name="subscription_change_of_plan_names_it",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=["plan", "pause"]) | Q(effective_at__gte=F("created_at")),
                name="subscription_change_not_backdated",
            ),
            models.CheckConstraint(
                condition=Q(undone_at__isnull=True, undone_by__isnull=True, undo_reason="")
                | Q(undone_at__isnull=False, undone_by__isnull=False)
                & Q(undone_at__lt=F("effective_at"))
                & ~Q(undo_reason=""),
                name="subscription_change_undone_before",
            ),
            models.UniqueConstraint(
                fields=["subscription", "effective_at"],
                condition=Q(kind="plan", undone_at__isnull=True),
                name="subscription_change_one_plan",
            ),
            models.UniqueConstraint(
                fields=["subscription", "effective_at"],
                condition=Q(kind__in=["trial", "pause", "resume"], undone_at__isnull=True),
                name="subscription_change_one_standing",
            ),
            models.UniqueConstraint(
                fields=["subscription"],
                condition=Q(kind="cancel", undone_at__isnull=True),
                name="subscription_change_one_cancel",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of subscription {self.subscription_id}"
