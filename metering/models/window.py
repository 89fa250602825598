"""Quantities by the hour: a projection of raw events that can be rebuilt from them."""

from django.db import models

from metering.models.customer import Customer, Workspace
from metering.models.meter import Meter


class UsageWindow(models.Model):
    """Meter x customer x workspace x dimensions x UTC hour, with its quantity."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+")
    workspace = models.ForeignKey(
        Workspace, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    dimensions = models.JSONField()  # {"model": "gpt-5.4"}
    dimensions_key = models.CharField(max_length=64)  # sha256 of the canonical dimensions.
    start_at = models.DateTimeField()
    # One value is below 10^24; 38 digits before the point hold the sum of 10^14 such events, so
    # that no sender can stop the aggregator with large numbers.
    quantity = models.DecimalField(max_digits=50, decimal_places=12)
    event_count = models.BigIntegerField()
    revision = models.IntegerField(default=1)  # Grows with every change of quantity.
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "usage_window"
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "meter", "workspace", "dimensions_key", "start_at"],
                nulls_distinct=False,
                name="usage_window_once",
            ),
            models.CheckConstraint(
                condition=models.Q(quantity__gte=0, quantity__lt=10**38),
                name="usage_window_quantity_bounds",
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "start_at"], name="usage_window_customer_start")
        ]

    def __str__(self) -> str:
        return f"{self.meter_id}@{self.start_at:%Y-%m-%dT%H}"


class UsageLevel(models.Model):
    """The level that goes on after the last window of a time-weighted sum; a projection, too.

    The row is the lock of its key: whoever writes windows of a time-weighted sum holds it.
    """

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+")
    workspace = models.ForeignKey(
        Workspace, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    dimensions = models.JSONField()
    dimensions_key = models.CharField(max_length=64)
    level = models.DecimalField(max_digits=36, decimal_places=12)
    settled_until = models.DateTimeField()  # Windows are written up to here.

    class Meta:
        db_table = "usage_level"
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "meter", "workspace", "dimensions_key"],
                nulls_distinct=False,
                name="usage_level_once",
            ),
            models.CheckConstraint(
                condition=models.Q(level__gte=0, level__lt=10**24), name="usage_level_bounds"
            ),
        ]
        indexes = [
            models.Index(
                fields=["settled_until"],
                condition=models.Q(level__gt=0),
                name="usage_level_going_on",
            )
        ]

    def __str__(self) -> str:
        return f"{self.meter_id} until {self.settled_until:%Y-%m-%dT%H}"
