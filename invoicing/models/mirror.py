"""What was told to Stripe of usage: a mirror for reading there, which bills nobody."""

from django.db import models
from django.db.models import Q

from invoicing.models.stripe import StripeCall


class StripeMeter(models.Model):
    """A meter's name at Stripe."""

    meter = models.OneToOneField("metering.Meter", on_delete=models.PROTECT, related_name="+")
    stripe_id = models.CharField(max_length=100, unique=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "stripe_meter"
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.stripe_id


class MirroredUsage(models.Model):
    """What one revision of a usage window added to what Stripe was told before; append-only.

    The sum of a window's rows is what Stripe has of it, but for those that it refused. A revision
    is told once, and again only where it is sure that Stripe never heard of it.
    """

    window = models.ForeignKey(
        "metering.UsageWindow", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    revision = models.IntegerField()
    quantity = models.DecimalField(max_digits=50, decimal_places=12)  # Negative: less than before.
    call = models.OneToOneField(StripeCall, on_delete=models.PROTECT, related_name="usage")

    class Meta:
        db_table = "mirrored_usage"
        ordering = ["-id"]
        indexes = [models.Index(fields=["window", "revision"], name="mirrored_usage_window")]
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gt=-(10**38), quantity__lt=10**38) & ~Q(quantity=0),
                name="mirrored_usage_says_something",
            ),
        ]

    def __str__(self) -> str:
        return f"window:{self.window_id}:r{self.revision}"
