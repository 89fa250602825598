"""How a step tells the next one that there is work, without knowing who takes it.

Publish in the transaction of the effect. The taker, inside its own transaction and under its lock,
first takes the notes of an object and then reads the object's state: what committed before the
take is seen, what commits later leaves a note of its own. A note that names parts spares the taker
the rest of the object; one that names none stands for all of it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Min

from billing_project.kernel.models import OutboxMessage


@dataclass(frozen=True)
class Waiting:
    """What waits for one object; `parts` is how many are named, None if one note names none."""

    object_id: int
    parts: int | None


_WAITING = """
SELECT object_id, CASE WHEN bool_and(parts IS NOT NULL) THEN sum(jsonb_array_length(parts)) END
FROM outbox_message WHERE topic = %s GROUP BY object_id ORDER BY min(created_at), object_id
"""
_OLDEST = """
SELECT min(created_at) FROM outbox_message
WHERE topic = %(topic)s AND (%(object)s::bigint IS NULL OR object_id = %(object)s)
"""
_OLDEST_BY_OBJECT = """
SELECT object_id, min(created_at) FROM outbox_message
WHERE topic = %(topic)s AND created_at <= %(until)s
  AND (%(object)s::bigint IS NULL OR object_id = %(object)s)
GROUP BY object_id
"""
_TAKE_PARTS = """
WITH taken AS (
    DELETE FROM outbox_message
    WHERE topic = %s AND object_id = ANY (%s) AND parts IS NOT NULL RETURNING parts
)
SELECT DISTINCT part::bigint FROM taken, jsonb_array_elements_text(parts) AS part
"""


def publish(topic: str, object_ids: Iterable[int], at: datetime) -> None:
    """Leave a note for each object, in ascending order."""
    OutboxMessage.objects.bulk_create(
        OutboxMessage(topic=topic, object_id=object_id, created_at=at)
        for object_id in sorted(set(object_ids))
    )


def publish_parts(topic: str, parts: Mapping[int, Collection[int]], at: datetime) -> None:
    """Leave a note for each object that names which of its parts changed."""
    OutboxMessage.objects.bulk_create(
        OutboxMessage(topic=topic, object_id=pk, parts=sorted(parts[pk]), created_at=at)
        for pk in sorted(parts)
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


def waiting_parts(topic: str) -> list[Waiting]:
    """List objects with notes and how many parts they name, the longest-waiting first."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [topic])
        return [Waiting(*row) for row in cursor.fetchall()]


def take(topic: str, object_id: int) -> int:
    """Delete the visible notes of an object and return their count; call inside the transaction."""
    return OutboxMessage.objects.filter(topic=topic, object_id=object_id).delete()[0]


def take_parts(topic: str, object_ids: Collection[int]) -> list[int]:
    """Delete the visible notes of objects that name parts, and return those; see `take`.

    Notes that name none stay: who takes them reads all of the object.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_PARTS, [topic, list(object_ids)])
        return [part for (part,) in cursor.fetchall()]


def oldest(topic: str, object_id: int | None = None) -> datetime | None:
    """Return since when the longest-waiting note waits, or None.

    Args:
        object_id: Looks at the notes of one object only.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST, {"topic": topic, "object": object_id})
        at: datetime | None = cursor.fetchone()[0]
    return at


def oldest_by_object(
    topic: str, until: datetime, object_id: int | None = None
) -> dict[int, datetime]:
    """Return since when each object's longest-waiting note waits, where it was left by `until`."""
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST_BY_OBJECT, {"topic": topic, "until": until, "object": object_id})
        return dict(cursor.fetchall())
