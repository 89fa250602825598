"""What was odd about somebody's use, what was planned, and what came of it."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from credits.anomalies import Pattern
from credits.models.rate import PricingUnit


class AnomalyPattern(models.TextChoices):
    SPIKE = Pattern.SPIKE.value
    RETRY_LOOP = Pattern.RETRY_LOOP.value
    MODEL_SWITCH = Pattern.MODEL_SWITCH.value
    NEW_KEY = Pattern.NEW_KEY.value
    SILENCE = Pattern.SILENCE.value


class Feedback(models.TextChoices):
    """What an anomaly turned out to be."""

    NONE = "", "not said yet"
    REAL = "real"
    EXPECTED = "expected"  # Odd, but meant.
    FALSE_ALARM = "false_alarm"


class SpendHour(models.Model):
    """What one series of a customer used in an hour: a fold of its facts, kept.

    A series is the customer, or one model, workspace or key of it. Calls are events: one counts
    once, however many meters read it. A key's credits are those of the holds it asked for.
    """

    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    dimension = models.CharField(max_length=9)  # "customer", "model", "workspace", "key"
    value = models.TextField()  # Of a workspace its external id, of a key its id, of a customer "".
    start_at = models.DateTimeField()
    credits = models.DecimalField(max_digits=38, decimal_places=12)
    calls = models.BigIntegerField()

    class Meta:
        db_table = "spend_hour"
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "start_at", "dimension", "value"], name="spend_hour_once"
            )
        ]
        indexes = [
            models.Index(fields=["customer", "dimension", "start_at"], name="spend_hour_series")
        ]

    def __str__(self) -> str:
        return f"{self.dimension} {self.value} at {self.start_at:%Y-%m-%d %H}"


class SpendMark(models.Model):
    """How far a customer's hours are kept, and looked at.

    Rated usage is written under its customer's lock, so its ids ascend for one customer: what is
    above `through_id` is in no hour yet. A customer whose kind of credits changes is folded anew.
    """

    customer = models.OneToOneField(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", primary_key=True
    )
    pricing_unit = models.ForeignKey(PricingUnit, on_delete=models.PROTECT, related_name="+")
    through_id = models.BigIntegerField(default=0)
    kept_since = models.DateTimeField()
    kept_until = models.DateTimeField()  # Exclusive, as is the next.
    looked_until = models.DateTimeField()

    class Meta:
        db_table = "spend_mark"
        constraints = [
            models.CheckConstraint(
                condition=Q(kept_until__gte=F("kept_since")), name="spend_mark_kept_in_order"
            )
        ]

    def __str__(self) -> str:
        return f"{self.customer_id} until {self.looked_until:%Y-%m-%d %H}"


class PlannedActivity(models.Model):
    """Use that will look odd and is meant: no anomaly is raised of it meanwhile; append-only."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    reason = models.TextField()
    planned_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    planned_at = models.DateTimeField()

    class Meta:
        db_table = "planned_activity"
        ordering = ["-id"]
        verbose_name_plural = "planned activities"
        constraints = [
            models.CheckConstraint(
                condition=Q(end_at__gt=F("start_at")), name="planned_activity_half_open"
            )
        ]

    def __str__(self) -> str:
        return f"{self.customer} from {self.start_at:%Y-%m-%d %H:%M}"


class Anomaly(models.Model):
    """Odd hours of one customer that look alike: raised once, and looked after by somebody.

    While it goes on its end and figures follow; what a person said of it stays.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    dimension = models.CharField(max_length=9, default="customer", db_default="customer")
    value = models.TextField(default="", db_default="", blank=True)  # Of its series.
    pattern = models.CharField(max_length=12, choices=AnomalyPattern.choices)
    pricing_unit = models.ForeignKey(PricingUnit, on_delete=models.PROTECT, related_name="+")
    start_at = models.DateTimeField()  # Of the first odd hour.
    end_at = models.DateTimeField()  # Of the last one, exclusive.
    observed = models.DecimalField(max_digits=38, decimal_places=12)  # Credits of its worst hours.
    expected = models.DecimalField(max_digits=38, decimal_places=12)
    score = models.DecimalField(max_digits=12, decimal_places=2)  # Usual deviations.
    causes = models.JSONField(default=list)  # [{"dimension", "value", "percent"}]
    impact_minor = models.BigIntegerField(null=True, blank=True)  # At the price of a credit beyond.
    currency = models.CharField(max_length=3, blank=True, default="")
    detected_at = models.DateTimeField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    feedback = models.CharField(
        max_length=11, choices=Feedback.choices, blank=True, default=Feedback.NONE
    )
    feedback_note = models.TextField(blank=True)
    feedback_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    feedback_at = models.DateTimeField(null=True, blank=True)
    source_key = models.CharField(max_length=120, unique=True)

    class Meta:
        db_table = "anomaly"
        ordering = ["-id"]
        verbose_name_plural = "anomalies"
        permissions = [("manage_anomaly", "Can look after anomalies and incidents")]
        indexes = [models.Index(fields=["customer", "pattern", "end_at"], name="anomaly_episode")]
        constraints = [
            models.CheckConstraint(condition=Q(end_at__gt=F("start_at")), name="anomaly_half_open"),
            models.CheckConstraint(
                condition=Q(feedback="", feedback_by__isnull=True, feedback_at__isnull=True)
                | (~Q(feedback="") & Q(feedback_by__isnull=False, feedback_at__isnull=False)),
                name="anomaly_feedback_by_someone",
            ),
        ]

    def __str__(self) -> str:
        words = self.get_pattern_display().capitalize()
        return f"{words} of {self.customer}, {self.start_at:%Y-%m-%d %H:%M} UTC"
