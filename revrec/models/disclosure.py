"""By which standard the notes to the statements are made, and what they leave out by choice."""

from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange
from revrec.disclosures import Framework


class DisclosurePolicy(models.Model):
    """One version of the exemptions that the remaining performance obligations use."""

    number = models.PositiveIntegerField(unique=True)
    framework = models.CharField(
        max_length=8, choices=[(one.value, one.value) for one in Framework]
    )
    exempts_short = models.BooleanField()  # Promises of a year or less (IFRS 15.121(a)).
    exempts_as_invoiced = models.BooleanField()  # Invoiced as it is earned (121(b)).
    exempts_usage = models.BooleanField()  # Usage yet to come (606-10-50-14A).
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "disclosure_policy"
        ordering = ["-number"]
        verbose_name_plural = "disclosure policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(framework="us_gaap") | Q(framework="ifrs", exempts_usage=False),
                name="disclosure_policy_of_framework",
            )
        ]

    def __str__(self) -> str:
        return f"disclosure policy v{self.number}"
