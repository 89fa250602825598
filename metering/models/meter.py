"""Rules that aggregate meter events into quantities."""

from django.db import models
from simple_history.models import HistoricalRecords


class Aggregation(models.TextChoices):
    SUM = "sum"
    COUNT = "count"
    MAX = "max"
    LAST = "last"
    UNIQUE = "unique"


class Meter(models.Model):
    """How one quantity is read from the events of one name."""

    code = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    event_name = models.CharField(max_length=100, db_index=True)
    aggregation = models.CharField(max_length=10, choices=Aggregation.choices)
    value_property = models.CharField(max_length=100, blank=True)  # Empty for count only.
    filters = models.JSONField(default=list, blank=True)  # [{"property", "operator", "value"}]
    dimensions = models.JSONField(default=list, blank=True)  # ["model"]
    unit = models.CharField(max_length=40)  # "token"
    # Events stored from this id on are counted; the database's order decides, not a clock.
    first_event_id = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    history = HistoricalRecords(table_name="meter_history")

    class Meta:
        db_table = "meter"
        ordering = ["code"]
        permissions = [("manage_meter", "Can make meters and customers")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(aggregation="count") | ~models.Q(value_property=""),
                name="meter_value_property_unless_count",
            )
        ]

    def __str__(self) -> str:
        return self.code
