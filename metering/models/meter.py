"""Rules that aggregate meter events into quantities."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from simple_history.models import HistoricalRecords

from metering.rounding import MAX_DECIMALS


class Aggregation(models.TextChoices):
    SUM = "sum"
    COUNT = "count"
    MAX = "max"
    MIN = "min"
    LAST = "last"
    UNIQUE = "unique"
    TIME_WEIGHTED_SUM = "time_weighted_sum"


class RoundingChoice(models.TextChoices):
    HALF_EVEN = "half_even"
    HALF_UP = "half_up"
    UP = "up"
    DOWN = "down"


class Meter(models.Model):
    """One quantity that is counted: what it is called, and what never changes about it.

    How events are read is said by its versions.
    """

    code = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    aggregation = models.CharField(max_length=20, choices=Aggregation.choices)
    unit = models.CharField(max_length=40)  # "token"; "seat-hour" of a time-weighted sum.
    # Events stored from this id on are counted; the database's order decides, not a clock.
    first_event_id = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    history = HistoricalRecords(table_name="meter_history")

    class Meta:
        db_table = "meter"
        ordering = ["code"]
        permissions = [("manage_meter", "Can make meters and customers")]

    def __str__(self) -> str:
        return self.code


class MeterVersion(models.Model):
    """How a meter reads the events of its span: from `effective_at` to the next version's.

    Never changed; one that no event was counted by may be withdrawn. An inactive one reads nothing
    and only repeats what the one before it read.
    """

    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveSmallIntegerField()
    event_name = models.CharField(max_length=100, db_index=True)
    value_property = models.CharField(max_length=100, blank=True)
    constant_value = models.DecimalField(
        max_digits=36, decimal_places=12, null=True, blank=True
    )  # What each event counts, in place of a property.
    filters = models.JSONField(default=list, blank=True)  # [{"property", "operator", "value"}]
    dimensions = models.JSONField(default=list, blank=True)  # ["model"]
    rounding_mode = models.CharField(
        max_length=10, choices=RoundingChoice.choices, default=RoundingChoice.HALF_EVEN
    )
    rounding_decimals = models.PositiveSmallIntegerField(default=MAX_DECIMALS)
    is_active = models.BooleanField(default=True)
    effective_at = models.DateTimeField(null=True, blank=True)  # A whole hour; the first has none.
    reason = models.TextField(blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    created_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    withdrawal_reason = models.TextField(blank=True)

    class Meta:
        db_table = "meter_version"
        ordering = ["meter", "number"]
        constraints = [
            models.UniqueConstraint(fields=["meter", "number"], name="meter_version_once"),
            models.UniqueConstraint(
                fields=["meter", "effective_at"],
                condition=Q(withdrawn_at__isnull=True),
                name="meter_version_effective_once",
            ),
            models.CheckConstraint(
                condition=Q(number=1, effective_at__isnull=True)
                | Q(
                    number__gt=1,
                    effective_at__isnull=False,
                    effective_at__gt=F("created_at"),
                    created_by__isnull=False,
                ),
                name="meter_version_later_ones_take_effect",
            ),
            models.CheckConstraint(
                condition=~Q(reason="") | Q(number=1), name="meter_version_later_ones_say_why"
            ),
            models.CheckConstraint(
                condition=Q(value_property="") | Q(constant_value__isnull=True),
                name="meter_version_one_value",
            ),
            models.CheckConstraint(
                condition=Q(constant_value__isnull=True)
                | Q(constant_value__gte=0, constant_value__lt=10**24),
                name="meter_version_constant_bounds",
            ),
            models.CheckConstraint(
                condition=Q(rounding_decimals__lte=MAX_DECIMALS),
                name="meter_version_rounding_decimals",
            ),
            models.CheckConstraint(
                condition=Q(
                    withdrawn_at__isnull=True, withdrawn_by__isnull=True, withdrawal_reason=""
                )
                | (
                    Q(effective_at__isnull=False, withdrawn_at__isnull=False)
                    & (Q(withdrawn_at__lt=F("effective_at")) | Q(is_active=False))
                    & Q(withdrawn_by__isnull=False)
                    & ~Q(withdrawal_reason="")
                ),
                name="meter_version_withdrawn_before_effect",
            ),
            models.CheckConstraint(
                condition=Q(is_active=True) | Q(number__gt=1), name="meter_version_first_is_active"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.meter_id} version {self.number}"
