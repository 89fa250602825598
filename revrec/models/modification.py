"""Contracts that changed: lines of before, lines that were added, and how it is treated."""

from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange
from revrec.modification import Treatment

_OF_ANSWERS = (
    Q(treatment=Treatment.SEPARATE.value, adds_distinct=True, at_ssp=True)
    | Q(treatment=Treatment.PROSPECTIVE.value, rest_is_distinct=True)
    & ~Q(adds_distinct=True, at_ssp=True)
    | Q(treatment=Treatment.CATCH_UP.value, rest_is_distinct=False)
    & ~Q(adds_distinct=True, at_ssp=True)
)


class ContractModification(models.Model):
    """One change of a contract, approved by finance (IFRS 15.18-21); it begins with its approval.

    The treatment follows from the three answers.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    treatment = models.CharField(
        max_length=11, choices=[(one.value, one.value.replace("_", " ")) for one in Treatment]
    )
    adds_distinct = models.BooleanField()
    at_ssp = models.BooleanField()
    rest_is_distinct = models.BooleanField()
    evidence = models.TextField()
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "contract_modification"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=_OF_ANSWERS, name="contract_modification_follows_answers"
            ),
            models.CheckConstraint(
                condition=~Q(evidence__regex=r"^\s*$"), name="contract_modification_has_evidence"
            ),
        ]

    def __str__(self) -> str:
        return f"modification {self.pk}"


class ModifiedLine(models.Model):
    """A fee that is part of a changed contract: from before, or added by the change."""

    modification = models.ForeignKey(
        ContractModification, on_delete=models.PROTECT, related_name="lines"
    )
    invoice_line = models.ForeignKey(
        "invoicing.InvoiceLine", on_delete=models.PROTECT, related_name="+"
    )
    is_added = models.BooleanField()

    class Meta:
        db_table = "modified_line"
        ordering = ["modification", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["modification", "invoice_line"], name="modified_line_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.invoice_line_id} of modification {self.modification_id}"
