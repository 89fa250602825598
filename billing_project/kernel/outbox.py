"""How a step tells the next one that there is work, without knowing who takes it.

Publish in the transaction of the effect. The taker, inside its own transaction and under its lock,
first takes the notes of an object and then reads the object's state: what committed before the
take is seen, what commits later leaves a note of its own.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Min

from billing_project.kernel.models import OutboxMessage


def publish(topic: str, object_ids: Iterable[int], at: datetime) -> None:
    """Leave a note for each object, in ascending order."""
    OutboxMessage.objects.bulk_create(
        OutboxMessage(topic=topic, object_id=object_id, created_at=at)
        for object_id in sorted(set(object_ids))
    )


def waiting(topic: str, limit: int | None = None) -> list[int]:
    """List objects with notes, the longest-waiting first."""
    rows = (
        OutboxMessage.objects.filter(topic=topic)
        .values("object_id")
        .annotate(oldest=Min("created_at"))
        .order_by("oldest", "object_id")[:limit]
    )
    return [row["object_id"] for row in rows]


def take(topic: str, object_id: int) -> int:
    """Delete the visible notes of an object and return their count; call inside the transaction."""
    return OutboxMessage.objects.filter(topic=topic, object_id=object_id).delete()[0]


def oldest(topic: str) -> datetime | None:
    """Return when the longest-waiting note was left, or None."""
    at: datetime | None = OutboxMessage.objects.filter(topic=topic).aggregate(
        oldest=Min("created_at")
    )["oldest"]
    return at
