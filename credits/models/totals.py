"""What rated usage sums to, kept so that rating reads no history; moved only by the database.

Rows of rated usage are the facts: their insertion moves these sums in the same statement, any other
hand is refused, and `check_books` folds the facts again.
"""

from django.db import models

from credits.models.rate import Rate
from credits.models.rated import BillingPeriod


class WindowRating(models.Model):
    """How far one usage window is rated: through which revision, at which quantity."""

    window = models.OneToOneField(
        "metering.UsageWindow", on_delete=models.PROTECT, related_name="+", primary_key=True
    )
    billing_period = models.ForeignKey(BillingPeriod, on_delete=models.PROTECT, related_name="+")
    rate = models.ForeignKey(  # Its first one, which prices its corrections too.
        Rate, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    revision = models.IntegerField()
    quantity = models.DecimalField(max_digits=50, decimal_places=12)

    class Meta:
        db_table = "window_rating"

    def __str__(self) -> str:
        return f"window:{self.window_id}:r{self.revision}"


class RateTotal(models.Model):
    """What was rated in a billing period at one rate for one workspace: what charges build on."""

    billing_period = models.ForeignKey(
        BillingPeriod, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    rate = models.ForeignKey(Rate, on_delete=models.PROTECT, related_name="+", db_index=False)
    workspace = models.ForeignKey(
        "metering.Workspace", on_delete=models.PROTECT, related_name="+", null=True, db_index=False
    )
    quantity = models.DecimalField(max_digits=50, decimal_places=12)
    charge = models.DecimalField(max_digits=50, decimal_places=12)

    class Meta:
        db_table = "rate_total"
        constraints = [
            models.UniqueConstraint(
                fields=["billing_period", "rate", "workspace"],
                nulls_distinct=False,
                name="rate_total_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.billing_period_id}:{self.rate_id}:{self.workspace_id}"
