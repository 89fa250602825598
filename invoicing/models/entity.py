"""Who sells: legal entities, what approved versions call them, and whom each bills."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange

MAIN_ENTITY, MAIN_CODE = 1, "main"  # It bills whoever has no other; migrations make it.


class LegalEntity(models.Model):
    """One seller with number series of its own; what it is called is said by versions."""

    code = models.CharField(max_length=20, unique=True)  # "main", "de"
    series_prefix = models.CharField(max_length=8, unique=True, blank=True)  # "DE": DE-INV-000001
    created_at = models.DateTimeField()

    class Meta:
        db_table = "legal_entity"
        verbose_name_plural = "legal entities"
        ordering = ["id"]
        permissions = [("assign_legalentity", "Can say which legal entity bills a customer")]

    def __str__(self) -> str:
        return self.code


class LegalEntityVersion(models.Model):
    """One version of what an entity's documents say of it; none is issued without one in force.

    The main entity needs none: until its first version governs, the settings say who sells.
    """

    entity = models.ForeignKey(LegalEntity, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    legal_name = models.CharField(max_length=200)
    address = models.TextField()  # In lines.
    tax_number = models.CharField(max_length=40, blank=True)
    country = models.CharField(max_length=2)
    currency = models.CharField(max_length=3)  # Of its own books.
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "legal_entity_version"
        ordering = ["entity", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["entity", "number"], name="legal_entity_version_once"),
            models.CheckConstraint(
                condition=Q(legal_name__gt="", address__gt="", country__gt="", currency__gt=""),
                name="legal_entity_version_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.entity} v{self.number}"


class CustomerEntity(models.Model):
    """Which entity bills a customer, for good: said before anything is sold to them.

    The database refuses it once a subscription or an invoice of theirs stands.
    """

    customer = models.OneToOneField("metering.Customer", on_delete=models.PROTECT, related_name="+")
    entity = models.ForeignKey(LegalEntity, on_delete=models.PROTECT, related_name="+")
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "customer_entity"
        verbose_name_plural = "customer entities"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.customer} by {self.entity}"


class CustomerAddress(models.Model):
    """Where a customer gets their invoices by post; the newest counts, and an empty one ends it."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    address = models.TextField(blank=True)  # In lines.
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "customer_address"
        verbose_name_plural = "customer addresses"
        ordering = ["-id"]
        permissions = [("record_customeraddress", "Can record a customer's postal address")]

    def __str__(self) -> str:
        return self.address.replace("\n", ", ") or "none any more"
