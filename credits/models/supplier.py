"""What suppliers charge for what customers use: the price beside a rate on the burn table."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange
from credits.supplier_prices import TokenKind


class TokenKindChoice(models.TextChoices):
    INPUT = TokenKind.INPUT.value
    CACHED_INPUT = TokenKind.CACHED_INPUT.value
    CACHE_WRITE = TokenKind.CACHE_WRITE.value
    OUTPUT = TokenKind.OUTPUT.value
    BATCH_INPUT = TokenKind.BATCH_INPUT.value
    BATCH_OUTPUT = TokenKind.BATCH_OUTPUT.value


class SupplierSheet(models.Model):
    """The prices of one list that differ from those in force; they count once it is approved."""

    number = models.PositiveIntegerField(unique=True)
    currency = models.CharField(max_length=3)
    source = models.CharField(max_length=200)
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "supplier_sheet"
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"suppliers' prices v{self.number}"


class SupplierRate(models.Model):
    """What a supplier charges for one token of a model from an instant on; append-only."""

    sheet = models.ForeignKey(  # NULL: recorded before prices were approved.
        SupplierSheet, on_delete=models.PROTECT, related_name="rates", null=True, blank=True
    )
    supplier = models.CharField(max_length=64)
    model = models.CharField(max_length=128)
    token_kind = models.CharField(max_length=12, choices=TokenKindChoice.choices)
    unit_price = models.DecimalField(max_digits=38, decimal_places=18)  # Major units a token.
    currency = models.CharField(max_length=3)
    effective_at = models.DateTimeField()
    source = models.CharField(max_length=200)  # The file or list that it was read from.
    recorded_at = models.DateTimeField()
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        db_table = "supplier_rate"
        ordering = ["model", "token_kind", "-effective_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["supplier", "model", "token_kind", "effective_at"],
                condition=Q(sheet__isnull=True),
                name="supplier_rate_once",
            ),
            models.UniqueConstraint(
                fields=["sheet", "supplier", "model", "token_kind"],
                name="supplier_rate_once_a_sheet",
            ),
            models.CheckConstraint(
                condition=Q(unit_price__gte=0, unit_price__lt=10**15),
                name="supplier_rate_unit_price_bounds",
            ),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[A-Z]{3}$"), name="supplier_rate_currency_code"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.token_kind} from {self.effective_at:%Y-%m-%d}"
