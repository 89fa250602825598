"""What a supplier billed for a month, beside what its usage costs by the supplier's prices."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class SupplierBill(models.Model):
    """One bill as it was read; append-only. A corrected bill of the same month is another row."""

    supplier = models.CharField(max_length=64)
    month_on = models.DateField()  # Its first day.
    currency = models.CharField(max_length=3)
    source = models.CharField(max_length=200)  # The file that it was read from.
    text_sha256 = models.CharField(max_length=64)
    imported_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    imported_at = models.DateTimeField()

    class Meta:
        db_table = "supplier_bill"
        ordering = ["-id"]
        permissions = [("reconcile_supplierbill", "Can import suppliers' bills and explain them")]
        constraints = [
            models.UniqueConstraint(
                fields=["supplier", "month_on", "text_sha256"], name="supplier_bill_once"
            ),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[A-Z]{3}$"), name="supplier_bill_currency_code"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.supplier}, {self.month_on:%Y-%m}"


class SupplierBillComparison(models.Model):
    """A bill laid beside what usage cost as it was known then; append-only, the newest governs."""

    bill = models.ForeignKey(SupplierBill, on_delete=models.PROTECT, related_name="comparisons")
    number = models.PositiveSmallIntegerField()  # 1: at the import.
    reason = models.TextField(blank=True)  # Of each but the first.
    compared_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    compared_at = models.DateTimeField()

    class Meta:
        db_table = "supplier_bill_comparison"
        ordering = ["-bill", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["bill", "number"], name="supplier_bill_comparison_once")
        ]

    def __str__(self) -> str:
        return f"comparison {self.number} of {self.bill}"


class SupplierBillLine(models.Model):
    """One model of a comparison; a difference has somebody who explains it, once."""

    bill = models.ForeignKey(SupplierBill, on_delete=models.PROTECT, related_name="lines")
    number = models.PositiveSmallIntegerField("comparison", default=1)
    model = models.CharField(max_length=128)
    billed = models.DecimalField(max_digits=38, decimal_places=12)  # Major units.
    expected = models.DecimalField(max_digits=38, decimal_places=12)  # By usage, as known then.
    is_open = models.BooleanField()  # Differs, nobody explained it, and it governs.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    explanation = models.TextField(blank=True)
    explained_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    explained_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "supplier_bill_line"
        ordering = ["-bill", "-number", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["bill", "number", "model"], name="supplier_bill_line_once"
            ),
            models.CheckConstraint(
                condition=Q(
                    billed__gt=-(10**24), billed__lt=10**24,
                    expected__gt=-(10**24), expected__lt=10**24,
                ),
                name="supplier_bill_line_bounds",
            ),
            models.CheckConstraint(
                condition=Q(explained_by__isnull=True, explained_at__isnull=True, explanation="")
                | (
                    Q(explained_by__isnull=False, explained_at__isnull=False, is_open=False)
                    & ~Q(explanation="")
                ),
                name="supplier_bill_line_explained_by_someone",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.model} of {self.bill}"
