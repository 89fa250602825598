"""Promises that were sold together, and how their price divides among them."""

from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange


class ContractAllocation(models.Model):
    """One contract over several invoice lines, approved by finance (IFRS 15.17, 76).

    Each line's promise takes its share of the whole price by what it would cost alone; what is
    claimed by each line stays.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    evidence = models.TextField()
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "contract_allocation"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(evidence__regex=r"^\s*$"), name="contract_allocation_has_evidence"
            )
        ]

    def __str__(self) -> str:
        return f"contract {self.pk}"


class AllocatedShare(models.Model):
    """What one line's promise is worth in its contract."""

    allocation = models.ForeignKey(
        ContractAllocation, on_delete=models.PROTECT, related_name="shares"
    )
    invoice_line = models.ForeignKey(
        "invoicing.InvoiceLine", on_delete=models.PROTECT, related_name="+"
    )
    ssp = models.DecimalField(max_digits=38, decimal_places=12)  # Alone, in major units.
    allocated_minor = models.BigIntegerField()

    class Meta:
        db_table = "allocated_share"
        ordering = ["allocation", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["allocation", "invoice_line"], name="allocated_share_once"
            ),
            models.CheckConstraint(
                condition=Q(ssp__gt=0, ssp__lte=10**12, allocated_minor__gt=0),
                name="allocated_share_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.invoice_line_id} of contract {self.allocation_id}"

    @property
    def shift_minor(self) -> int:
        """What the promise takes from the others of its contract, or, negative, gives them."""
        return self.allocated_minor - self.invoice_line.amount_minor
