"""Corrections of usage windows that a replay proposes: nothing changes before somebody approved."""

from django.conf import settings
from django.db import models

from billing_project.kernel.models import PolicyChange
from metering.models.customer import Customer, Workspace
from metering.models.meter import Meter


class WindowRepair(models.Model):
    """Windows that differed from what their events say, proposed to be set right."""

    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    proposed_at = models.DateTimeField()

    class Meta:
        db_table = "window_repair"
        ordering = ["-id"]
        permissions = [("repair_usagewindow", "Can propose and apply repairs of usage windows")]

    def __str__(self) -> str:
        return f"repair {self.pk}"


class WindowRepairItem(models.Model):
    """One window: what it held when the replay was made, and what its events say."""

    repair = models.ForeignKey(WindowRepair, on_delete=models.PROTECT, related_name="items")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+")
    workspace = models.ForeignKey(
        Workspace, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    dimensions = models.JSONField()
    dimensions_key = models.CharField(max_length=64)
    start_at = models.DateTimeField()
    # None: no such window was stored.
    stored_quantity = models.DecimalField(max_digits=50, decimal_places=12, null=True, blank=True)
    stored_count = models.BigIntegerField(null=True, blank=True)
    quantity = models.DecimalField(max_digits=50, decimal_places=12)
    event_count = models.BigIntegerField()

    class Meta:
        db_table = "window_repair_item"
        constraints = [
            models.UniqueConstraint(
                fields=["repair", "customer", "meter", "workspace", "dimensions_key", "start_at"],
                nulls_distinct=False,
                name="window_repair_item_once",
            ),
            models.CheckConstraint(
                condition=models.Q(quantity__gte=0, quantity__lt=10**38, event_count__gte=0),
                name="window_repair_item_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.meter_id}@{self.start_at:%Y-%m-%dT%H}"


class AppliedRepair(models.Model):
    """That an approved repair was carried out, once, by whom; append-only."""

    repair = models.OneToOneField(WindowRepair, on_delete=models.PROTECT, related_name="applied")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        db_table = "applied_repair"

    def __str__(self) -> str:
        return f"applied {self.repair_id}"
