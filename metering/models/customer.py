"""Who is billed, and the parts of them that use."""

from django.conf import settings
from django.db import models
from simple_history.models import HistoricalRecords


class Customer(models.Model):
    """Who is billed; `external_id` is the name that the sending apps use."""

    external_id = models.CharField(max_length=128, unique=True)
    name = models.CharField(max_length=200)
    currency = models.CharField(max_length=3)
    time_zone = models.CharField(max_length=64, default="UTC")
    country = models.CharField(max_length=2, blank=True)
    email = models.EmailField(blank=True)
    locale = models.CharField(max_length=35, blank=True, db_default="")  # "de-DE"; or the default.
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)  # No credits are given from then on.
    history = HistoricalRecords(table_name="customer_history")

    class Meta:
        db_table = "customer"
        ordering = ["external_id"]
        permissions = [("close_customer", "Can close and reopen a customer")]

    def __str__(self) -> str:
        return self.external_id


class CustomerAlias(models.Model):
    """Another id under which apps send a customer's usage; append-only."""

    external_id = models.CharField(max_length=128, unique=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="aliases")
    reason = models.TextField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = "customer_alias"
        verbose_name_plural = "customer aliases"

    def __str__(self) -> str:
        return self.external_id


class Workspace(models.Model):
    """A part of a customer that uses, and may be budgeted, on its own."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="workspaces")
    external_id = models.CharField(max_length=128)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    history = HistoricalRecords(table_name="workspace_history")

    class Meta:
        db_table = "workspace"
        ordering = ["customer", "external_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "external_id"], name="workspace_external_id_once"
            )
        ]

    def __str__(self) -> str:
        return self.external_id
