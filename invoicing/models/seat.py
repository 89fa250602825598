"""Seats that are added and removed while a subscription runs."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from invoicing.models.plan import Subscription


class SeatChange(models.Model):
    """So many seats more, or fewer, from an instant on: append-only.

    The database refuses fewer than no seats at any instant. `settled_at` alone is set later: when
    the change was charged or credited, or taken into the claim of a period that began with it.
    """

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="seats")
    seats = models.IntegerField()
    effective_at = models.DateTimeField()
    reason = models.CharField(max_length=200, blank=True)
    source_key = models.CharField(max_length=120, unique=True)  # The caller's name for it.
    settled_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = "seat_change"
        ordering = ["subscription", "effective_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(seats=0) & Q(seats__gte=-(10**6), seats__lte=10**6),
                name="seat_change_bounds",
            ),
        ]
        indexes = [
            models.Index(
                fields=["effective_at"],
                condition=Q(settled_at__isnull=True),
                name="seat_change_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.seats:+d} seats of {self.subscription}"
