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
