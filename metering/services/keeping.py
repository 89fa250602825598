"""Keep what is not stored: quarantined events as they came, rejections as counters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection

from metering.events import EventInput
from metering.exact import write_json
from metering.judging import Status, Verdict
from metering.models.event import QuarantineState
from metering.services.superseding import SUPERSEDED

_KEEP = """
INSERT INTO quarantined_event (
    customer_external_id, workspace_external_id, event_name, identifier, "timestamp",
    is_timestamp_sent, properties, content_sha256, reason, detail, received_at, state, resolution)
SELECT customer, workspace, event_name, identifier, "timestamp", is_timestamp_sent, properties,
       decode(sha256, 'hex'), reason, detail, %(at)s, 'open', ''
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
    customer text, workspace text, event_name text, identifier text, "timestamp" timestamptz,
    is_timestamp_sent boolean, properties jsonb, sha256 text, reason text, detail text)
ORDER BY customer, identifier, sha256
ON CONFLICT DO NOTHING
"""
_FIND_KEPT = """
SELECT r.n, q.state, q.reason, q.detail, q.resolved_at
FROM jsonb_to_recordset(%s::jsonb) AS r(n integer, customer text, identifier text, sha256 text)
JOIN quarantined_event q ON q.customer_external_id = r.customer
 AND q.identifier = r.identifier AND q.content_sha256 = decode(r.sha256, 'hex')
"""
# What was superseded is not meant: its sender's better report is stored.
_FIND_DISMISSED = """
SELECT r.n, q.state, q.reason, q.detail, q.resolved_at
FROM unnest(%s::integer[], %s::text[], %s::text[], %s::bytea[])
     AS r(n, customer, identifier, sha256)
JOIN quarantined_event q ON q.customer_external_id = r.customer
 AND q.identifier = r.identifier AND q.content_sha256 = r.sha256
WHERE q.state = 'dismissed' AND q.resolution <> %s
"""
_COUNT = """
INSERT INTO event_rejection (api_key_name, code, day, count, sample, last_at)
SELECT %(sender)s, code, %(day)s, count, sample, %(at)s
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(code text, count bigint, sample jsonb)
ORDER BY code
ON CONFLICT (api_key_name, code, day) DO UPDATE
SET count = event_rejection.count + excluded.count, sample = excluded.sample,
    last_at = excluded.last_at
"""


@dataclass(frozen=True)
class Kept:
    """An event for the quarantine, with the reason."""

    sent: EventInput
    timestamp: datetime
    sha256: bytes
    reason: str
    detail: str


@dataclass(frozen=True)
class Refused:
    """A rejected item: what its sender needs to find it, no payload."""

    code: str
    detail: str
    identifier: str
    customer: str


def keep_in_quarantine(rows: Sequence[Kept], at: datetime) -> None:
    """Keep each content once; a retry of what is kept adds no row."""
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, {"rows": write_json([_row(kept) for kept in rows]), "at": at})


def kept_verdicts(items: Mapping[int, Kept]) -> dict[int, Verdict]:
    """Return the verdicts of items that were kept before with the same content, by index.

    A report that waits goes on waiting, however late its retry comes. One that somebody decided on
    is a duplicate: the decision stands, and nothing waits for another one.
    """
    if not items:
        return {}
    rows = [{"n": n, **_row(kept)} for n, kept in items.items()]
    with connection.cursor() as cursor:
        cursor.execute(_FIND_KEPT, [write_json(rows)])
        return {n: _kept_verdict(*facts) for n, *facts in cursor.fetchall()}


def dismissed_verdicts(reports: Sequence[tuple[int, str, str, bytes]]) -> dict[int, Verdict]:
    """Return the verdicts of reports that somebody dismissed before, by index.

    We said that they are not billed: that holds when they would be good by now, too.

    Args:
        reports: (index, customer's external id as it was sent, identifier, hash of the content).
    """
    if not reports:
        return {}
    with connection.cursor() as cursor:
        columns = [list(column) for column in zip(*reports, strict=True)]
        cursor.execute(_FIND_DISMISSED, [*columns, SUPERSEDED])
        return {n: _kept_verdict(*facts) for n, *facts in cursor.fetchall()}


def _kept_verdict(state: str, reason: str, detail: str, resolved_at: datetime | None) -> Verdict:
    """Say what became of a report that was kept."""
    if resolved_at is None:
        return Verdict(Status.QUARANTINED, reason, detail)
    day = f"{resolved_at:%Y-%m-%d}"
    words = {
        QuarantineState.DISMISSED: f"this report was dismissed on {day}: it is not billed",
        QuarantineState.AMENDED: f"the stored event was given this content on {day}",
        QuarantineState.REPLAYED: f"this report was stored on {day}",
    }
    return Verdict(Status.DUPLICATE, state, words[QuarantineState(state)])


def count_rejections(sender: str, refused: Sequence[Refused], at: datetime) -> None:
    """Count by code and day, and keep the last one as a sample."""
    if not refused:
        return
    last = {one.code: one for one in refused}
    rows = [
        {
            "code": code,
            "count": sum(one.code == code for one in refused),
            "sample": {
                "identifier": one.identifier,
                "customer": one.customer,
                "detail": one.detail[:500],
            },
        }
        for code, one in last.items()
    ]
    day = at.astimezone(UTC).date()
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"sender": sender, "day": day, "rows": write_json(rows), "at": at})


def _row(kept: Kept) -> dict[str, object]:
    return {
        "customer": kept.sent.customer,
        "workspace": kept.sent.workspace,
        "event_name": kept.sent.event_name,
        "identifier": kept.sent.identifier,
        "timestamp": kept.timestamp,
        "is_timestamp_sent": kept.sent.timestamp is not None,
        "properties": kept.sent.properties,
        "sha256": kept.sha256.hex(),
        "reason": kept.reason,
        "detail": kept.detail,
    }
