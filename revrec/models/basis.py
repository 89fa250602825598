"""What credits that were given stand at in the books: a concession, or a share of a purchase."""

from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange


class BasisCause(models.TextChoices):
    CONCESSION = "concession", "given for something that went wrong"  # IFRS 15.51-52.
    BONUS = "bonus", "came with a purchase"  # IFRS 15.76, B39-B43.


class GrantBasis(models.Model):
    """What a grant without a price is worth, approved by finance; it earns by it as it is used.

    Of a bonus the purchase gives up a share of its own price: by what both would cost alone, as far
    as they are expected to be used.
    """

    grant = models.ForeignKey("credits.CreditGrant", on_delete=models.PROTECT, related_name="+")
    cause = models.CharField(max_length=10, choices=BasisCause.choices)
    price_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    purchase = models.ForeignKey(
        "credits.CreditGrant", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    # Of one credit of each, in major units; and which share of them is expected to be used.
    ssp = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    likelihood = models.DecimalField(max_digits=9, decimal_places=8, null=True, blank=True)
    purchase_ssp = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    purchase_likelihood = models.DecimalField(max_digits=9, decimal_places=8, null=True, blank=True)
    evidence = models.TextField()
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "grant_basis"
        ordering = ["-id"]
        verbose_name_plural = "grant bases"
        constraints = [
            models.CheckConstraint(
                condition=Q(price_minor__gt=0), name="grant_basis_price_positive"
            ),
            models.CheckConstraint(
                condition=Q(
                    cause="concession", purchase__isnull=True, ssp__isnull=True,
                    likelihood__isnull=True, purchase_ssp__isnull=True,
                    purchase_likelihood__isnull=True,
                )
                | Q(
                    cause="bonus", purchase__isnull=False, ssp__isnull=False,
                    likelihood__isnull=False, purchase_ssp__isnull=False,
                    purchase_likelihood__isnull=False, ssp__gt=0, likelihood__gt=0,
                    likelihood__lte=1, purchase_ssp__gt=0, purchase_likelihood__gt=0,
                    purchase_likelihood__lte=1,
                ),
                name="grant_basis_of_cause",
            ),
            models.CheckConstraint(
                condition=~Q(evidence__regex=r"^\s*$"), name="grant_basis_has_evidence"
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"basis of grant {self.grant_id}"
