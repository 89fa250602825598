"""Write down what happened for those who want to be told, in the transaction of its cause.

The kinds are registered by the app that they happen in, so that the ground knows none of them.
Where nobody wants to be told, nothing is written; what an endpoint wants that was switched off of
late is kept, so that it can be told once it is mended.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from django.db import connection

from billing_project.kernel.quantity import plain

ALL = "*"
TEST = "webhook.test"
KEPT = timedelta(days=30)  # Of what happens while an endpoint is switched off.

_ANNOUNCE = """
WITH wanting AS (
    SELECT id, disabled_at FROM webhook_endpoint
    WHERE (events @> %(kinds)s::jsonb OR events @> '["*"]')
      AND (disabled_at IS NULL OR disabled_at > %(kept_since)s)
), event AS (
    INSERT INTO webhook_event (message_id, kind, at, body, source_key)
    SELECT %(message)s, %(kind)s, %(at)s, %(body)s, %(key)s WHERE EXISTS (SELECT FROM wanting)
    ON CONFLICT (source_key) DO NOTHING RETURNING id
)
INSERT INTO webhook_delivery (event_id, endpoint_id, queued_at, attempts, next_try_at, failure)
SELECT event.id, wanting.id, %(at)s, 0, %(at)s, '' FROM event, wanting
WHERE wanting.disabled_at IS NULL
"""


@dataclass(frozen=True)
class Kind:
    """One kind of event.

    Attributes:
        code: Its stable name, as receivers read it ("invoice.finalized").
        says: What happened, as a sentence for people.
    """

    code: str
    says: str


_kinds: dict[str, Kind] = {}


def register_webhook(code: str, says: str) -> str:
    """Make a kind known, and return its code."""
    _kinds[code] = Kind(code, says)
    return code


def webhook_kinds() -> list[Kind]:
    """List all kinds by their codes."""
    return [_kinds[code] for code in sorted(_kinds)]


register_webhook(TEST, "Somebody tries whether an endpoint takes what it is sent.")


def announce(kind: str, *, key: str, data: Mapping[str, object], at: datetime) -> None:
    """Tell of something that happened, once for each key; sent by the worker after the commit.

    Args:
        key: Names what happened ("invoice:12:finalized").
        data: Plain values; decimals become text, instants become UTC.
    """
    assert kind in _kinds, f"{kind} is not registered"
    said: dict[str, str | datetime] = {
        "kind": kind, "kinds": f'["{kind}"]', "at": at, "key": key, "kept_since": at - KEPT,
        "body": body_of(kind, data, at), "message": message_id(),
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_ANNOUNCE, said)


def body_of(kind: str, data: Mapping[str, object], at: datetime) -> str:
    """Write what is sent: the kind, when it happened, and its data, as the API writes values."""
    said = {"type": kind, "timestamp": at, "data": data}
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False, default=_text)


def message_id() -> str:
    """Draw the name of a message, as receivers know it."""
    return f"msg_{uuid4().hex}"


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no place in a webhook")
