"""What work asked to begin, what was decided, and the credits that are held for it."""

from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models import ApiKey
from credits.models.control import ControlPolicy, ModelException, SpendLimit
from credits.models.rate import PricingUnit

_BOUNDS = Q(credits__gte=0, credits__lt=10**24)


class Authorization(models.Model):
    """One decision on one piece of work: append-only, refusals too.

    `limits` are the limits that applied, as they stood: [{"code", "window", "mode", "ceiling",
    "spent", "held"}].
    """

    customer = models.ForeignKey(  # An index below begins with it.
        "metering.Customer", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    workspace = models.ForeignKey(
        "metering.Workspace", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    model = models.CharField(max_length=128, blank=True)
    job = models.CharField(max_length=128, blank=True)
    request = models.CharField(max_length=128, blank=True)
    estimate = models.JSONField(default=dict)  # {"input_tokens": "1200"}; {} where credits came.
    pricing_unit = models.ForeignKey(
        PricingUnit, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    credits = models.DecimalField(max_digits=38, decimal_places=12)
    is_allowed = models.BooleanField()
    reason = models.CharField(max_length=24)
    detail = models.TextField(blank=True)
    limits = models.JSONField(default=list)
    control_policy = models.ForeignKey(
        ControlPolicy, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    exception = models.ForeignKey(
        ModelException, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    decided_at = models.DateTimeField()

    class Meta:
        db_table = "spend_authorization"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=_BOUNDS, name="spend_authorization_credits_bounds"),
            models.CheckConstraint(
                condition=Q(is_allowed=True, reason="allowed")
                | (Q(is_allowed=False) & ~Q(reason="allowed")),
                name="spend_authorization_reason_fits",
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "decided_at"], name="spend_authorization_customer"),
            models.Index(
                fields=["customer", "job", "request", "decided_at"],
                condition=~Q(request=""),
                name="spend_authorization_retries",
            ),
        ]

    def __str__(self) -> str:
        return f"authorization {self.pk}"


class HoldState(models.TextChoices):
    OPEN = "open"
    SETTLED = "settled"  # What was used is known; held until it is in the balance.
    RELEASED = "released"
    LAPSED = "lapsed"


class Hold(models.Model):
    """Credits reserved by an authorization.

    Held are `credits` of an open hold until `expires_at`, and of a settled one until `counted_at`:
    from then on the ledger has them.
    """

    authorization = models.OneToOneField(
        Authorization, on_delete=models.PROTECT, related_name="hold"
    )
    key = models.CharField(max_length=40, unique=True)  # "hold_…": its name for callers.
    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    workspace = models.ForeignKey(
        "metering.Workspace", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, related_name="+", null=True, blank=True, db_index=False
    )
    model = models.CharField(max_length=128, blank=True)
    job = models.CharField(max_length=128, blank=True)
    pricing_unit = models.ForeignKey(PricingUnit, on_delete=models.PROTECT, related_name="+")
    credits = models.DecimalField(max_digits=38, decimal_places=12)
    parts = models.JSONField(default=dict)  # By meter code: {"input_tokens": "1.5"}; "": any.
    state = models.CharField(max_length=8, choices=HoldState.choices, default=HoldState.OPEN)
    ttl_seconds = models.PositiveIntegerField()
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    identifier = models.CharField(max_length=128, blank=True, default="")  # Of the event it was.
    ended_at = models.DateTimeField(null=True, blank=True)
    counted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "hold"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=_BOUNDS, name="hold_credits_bounds"),
            models.CheckConstraint(
                condition=Q(state="open", ended_at__isnull=True)
                | Q(state__in=["settled", "released", "lapsed"], ended_at__isnull=False),
                name="hold_ended_iff_not_open",
            ),
            models.CheckConstraint(
                condition=~Q(state="settled") | ~Q(identifier=""), name="hold_settled_by_an_event"
            ),
            models.CheckConstraint(
                condition=Q(counted_at__isnull=True) | Q(state="settled"),
                name="hold_counted_once_settled",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("made_at")), name="hold_expires_later"
            ),
            models.UniqueConstraint(
                fields=["customer", "identifier"],
                condition=~Q(identifier=""),
                name="hold_one_for_an_event",
            ),
        ]
        indexes = [
            models.Index(
                fields=["customer"],
                condition=Q(state="open") | Q(state="settled", counted_at__isnull=True),
                name="hold_outstanding",
            ),
            models.Index(
                fields=["customer", "job", "made_at"], condition=~Q(job=""), name="hold_job"
            ),
            models.Index(fields=["customer", "api_key", "made_at"], name="hold_api_key"),
            models.Index(fields=["customer", "made_at"], name="hold_made"),
            models.Index(fields=["expires_at"], condition=Q(state="open"), name="hold_open"),
        ]

    def __str__(self) -> str:
        return self.key


class SpendCounter(models.Model):
    """How far a limit's window was used, as far as rated usage was read: a fold, kept.

    Rated usage is written under its customer's lock, as this is, so its ids ascend for one
    customer: what is above `through_id` is what is not in `credits` yet. `check_books` folds again.
    """

    limit = models.ForeignKey(
        SpendLimit, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()  # Kept: the customer's time zone may change.
    credits = models.DecimalField(max_digits=38, decimal_places=12, default=0)
    through_id = models.BigIntegerField(default=0)

    class Meta:
        db_table = "spend_counter"
        constraints = [
            models.UniqueConstraint(
                fields=["limit", "start_at", "end_at"], name="spend_counter_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.limit_id} from {self.start_at:%Y-%m-%d %H:%M}"
