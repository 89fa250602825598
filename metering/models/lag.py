"""When usage was counted too late: one episode for each stretch of time, and who saw it."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.lookups import IsNull


class LagEpisode(models.Model):
    """A stretch in which the aggregation lagged beyond its limit; one is open at a time."""

    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    worst_lag_seconds = models.DecimalField(max_digits=20, decimal_places=6)
    worst_at = models.DateTimeField()
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
        db_table = "lag_episode"
        ordering = ["-id"]
        permissions = [("acknowledge_lagepisode", "Can acknowledge that aggregation lags")]
        constraints = [
            # The same for every open row, so that there is one at most.
            models.UniqueConstraint(
                IsNull(F("closed_at"), True),
                condition=Q(closed_at__isnull=True),
                name="lag_episode_one_open",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | Q(closed_at__gte=F("opened_at")),
                name="lag_episode_closed_after_opened",
            ),
            models.CheckConstraint(
                condition=Q(worst_lag_seconds__gt=0, worst_lag_seconds__lt=10**12),
                name="lag_episode_worst_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"lag since {self.opened_at:%Y-%m-%d %H:%M}"
