"""Adjustments as a reason that people read: which events of a span were corrected since when."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from billing_project.kernel.quantity import how_many
from metering.models import MeterEventAdjustment

_NAMED = 20


@dataclass(frozen=True)
class Adjusted:
    """How many corrections there were, and the newest of them ("cancel req-2", "backfill 7")."""

    count: int
    named: tuple[str, ...]

    @property
    def text(self) -> str:
        """Name them in a sentence."""
        if not self.count:
            return "no single event was adjusted"
        rest = self.count - len(self.named)
        return ", ".join(self.named) + (f" and {rest:,} more" if rest else "")


def adjusted_since(customer_id: int, start: datetime, end: datetime, since: datetime) -> Adjusted:
    """Return what was adjusted from `since` on of a customer's events in [start, end)."""
    rows = MeterEventAdjustment.objects.filter(
        customer_id=customer_id,
        timestamp__gte=start,
        timestamp__lt=end,
        created_at__gte=since,
    )
    single = rows.filter(backfill__isnull=True)
    newest = single.order_by("-id").values_list("type", "identifier")[:_NAMED]
    by_backfill = (
        rows.filter(backfill__isnull=False).values_list("backfill_id").order_by("-backfill_id")
    )
    named = [
        f"backfill {pk} ({how_many(count, 'event')})"
        for pk, count in by_backfill.annotate(Count("id"))
    ]
    named += [f"{kind} {identifier}" for kind, identifier in newest]
    return Adjusted(single.count() + len(named) - len(newest), tuple(named[:_NAMED]))
