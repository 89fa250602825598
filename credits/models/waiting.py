"""When usage waits without a rate: one episode for each meter and model, and who saw it."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class UnratedEpisode(models.Model):
    """A stretch in which usage of a meter and model has no approved rate; it waits, unrated.

    The counts are those of the last look that found it waiting.
    """

    meter = models.ForeignKey("metering.Meter", on_delete=models.PROTECT, related_name="+")
    model = models.CharField(max_length=400, blank=True)  # Empty: usage that names none.
    dimensions = models.JSONField(default=dict)  # Of the oldest window that was found first.
    first_used_at = models.DateTimeField()  # The start of that window.
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField()
    window_count = models.BigIntegerField()
    quantity = models.DecimalField(max_digits=50, decimal_places=12)
    customer_count = models.IntegerField()
    told_at = models.DateTimeField(null=True, blank=True)  # By mail, once.
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
    )
    note = models.TextField(blank=True)

    class Meta:
        db_table = "unrated_episode"
        ordering = ["-id"]
        permissions = [("acknowledge_unratedepisode", "Can acknowledge usage without a rate")]
        constraints = [
            models.UniqueConstraint(
                fields=["meter", "model"],
                condition=Q(closed_at__isnull=True),
                name="unrated_episode_one_open",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | Q(closed_at__gte=F("opened_at")),
                name="unrated_episode_closed_after_opened",
            ),
            models.CheckConstraint(
                condition=Q(window_count__gt=0, customer_count__gt=0, quantity__gte=0)
                & Q(quantity__lt=10**38),
                name="unrated_episode_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.meter.code} {self.model or 'without a model'}"
