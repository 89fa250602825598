"""Rules that stop an overspend before it happens: versioned, and approved by two people."""

from django.db import models
from django.db.models import Q

from billing_project.kernel.models import ApiKey, PolicyChange
from credits.models.rate import PricingUnit

_CREDIT_LIMIT = 10**24


class LimitWindow(models.TextChoices):
    """Over which time spending counts against a limit."""

    HOUR = "hour"  # In UTC.
    DAY = "day"  # In the customer's time zone.
    MONTH = "month"
    JOB = "job"  # A job's whole life.


class LimitMode(models.TextChoices):
    SOFT = "soft"  # Warns.
    HARD = "hard"  # Refuses.


class SpendLimit(models.Model):
    """One version of a ceiling of a customer's spending; what it names must all agree.

    Spending of the customer, a workspace or a model is what was rated; a job and a key are known
    only where work asks first, so theirs is what was held and settled. A limit by job without a
    name holds for every job on its own.
    """

    code = models.CharField(max_length=64)
    number = models.PositiveIntegerField()
    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    workspace = models.ForeignKey(
        "metering.Workspace", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    model = models.CharField(max_length=128, blank=True, default="")
    job = models.CharField(max_length=128, blank=True, default="")
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    window = models.CharField(max_length=5, choices=LimitWindow.choices)
    mode = models.CharField(max_length=4, choices=LimitMode.choices)
    pricing_unit = models.ForeignKey(PricingUnit, on_delete=models.PROTECT, related_name="+")
    credits = models.DecimalField(max_digits=38, decimal_places=12)
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "spend_limit"
        ordering = ["code", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["code", "number"], name="spend_limit_once"),
            models.CheckConstraint(
                condition=Q(credits__gte=0, credits__lt=_CREDIT_LIMIT),
                name="spend_limit_credits_bounds",
            ),
            models.CheckConstraint(
                condition=Q(window__in=["hour", "day", "month", "job"], mode__in=["soft", "hard"]),
                name="spend_limit_known_words",
            ),
        ]
        indexes = [models.Index(fields=["customer"], name="spend_limit_customer")]

    def __str__(self) -> str:
        return f"{self.code} v{self.number}"


class OverdraftMode(models.TextChoices):
    OFF = "off"
    CAPPED = "capped"
    ALLOWED = "allowed"


class ControlPolicy(models.Model):
    """One version of the rules of the request path, of one customer or of all who have none.

    Lists of names are the callers' own. `instead` maps a premium model to the cheaper one that a
    refusal names.
    """

    code = models.CharField(max_length=140)  # "controls", "controls:cust-01"
    number = models.PositiveIntegerField()
    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    overdraft = models.CharField(max_length=7, choices=OverdraftMode.choices)
    overdraft_credits = models.DecimalField(
        max_digits=38, decimal_places=12, null=True, blank=True
    )  # Of a billing period.
    retry_max = models.PositiveIntegerField(null=True, blank=True)
    retry_seconds = models.PositiveIntegerField(null=True, blank=True)
    premium_models = models.JSONField(default=list, blank=True)
    instead = models.JSONField(default=dict, blank=True)
    premium_workspaces = models.JSONField(default=list, blank=True)
    premium_jobs = models.JSONField(default=list, blank=True)
    premium_ceiling = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "control_policy"
        verbose_name_plural = "control policies"
        ordering = ["code", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["code", "number"], name="control_policy_once"),
            models.CheckConstraint(
                condition=Q(overdraft__in=["off", "allowed"], overdraft_credits__isnull=True)
                | Q(
                    overdraft="capped",
                    overdraft_credits__gt=0,
                    overdraft_credits__lt=_CREDIT_LIMIT,
                ),
                name="control_policy_cap_of_overdraft",
            ),
            models.CheckConstraint(
                condition=Q(retry_max__isnull=True, retry_seconds__isnull=True)
                | Q(retry_max__gte=1, retry_seconds__gte=1),
                name="control_policy_retry_window",
            ),
            models.CheckConstraint(
                condition=Q(premium_ceiling__isnull=True)
                | Q(premium_ceiling__gte=0, premium_ceiling__lt=_CREDIT_LIMIT),
                name="control_policy_ceiling_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} v{self.number}"


class ModelException(models.Model):
    """Leave to use a premium model, until its change expires; approved by someone else."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    workspace = models.ForeignKey(
        "metering.Workspace", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    model = models.CharField(max_length=128)
    job = models.CharField(max_length=128, blank=True, default="")  # "": every job.
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "model_exception"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(model=""), name="model_exception_names_model")
        ]

    def __str__(self) -> str:
        return f"{self.model} for {self.customer}"
