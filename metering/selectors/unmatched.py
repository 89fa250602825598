"""The unmatched-event report: every report that was kept and not billed, with what became of it."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import QuerySet

from billing_project.kernel.exporting import Cell, Column
from metering.exact import write_json
from metering.models import QuarantinedEvent
from metering.selectors.quarantine import MISSING

COLUMNS = (
    Column("id", int),
    Column("reason"),
    Column("missing"),
    Column("detail"),
    Column("customer"),
    Column("workspace"),
    Column("event_name"),
    Column("identifier"),
    Column("timestamp", datetime),
    Column("properties"),  # As JSON: numbers keep their digits.
    Column("received_at", datetime),
    Column("state"),
    Column("resolved_at", datetime),
    Column("resolved_by"),
    Column("resolution"),
)
_PAGE = 2000


def unmatched_rows(rows: QuerySet[QuarantinedEvent]) -> Iterator[dict[str, Cell]]:
    """Read rows by their id, page after page; each as it stands when it is read.

    No transaction stays open between pages: a slow reader holds nothing up, and nothing cuts it
    off.
    """
    last_id = 0
    named = rows.order_by("id").annotate(missing=MISSING).select_related("resolved_by")
    while page := list(named.filter(pk__gt=last_id)[:_PAGE]):
        for row in page:
            yield _cells(row)
        last_id = page[-1].pk


def _cells(row: QuarantinedEvent) -> dict[str, Cell]:
    return {
        "id": row.pk,
        "reason": row.reason,
        "missing": row.missing,  # type: ignore[attr-defined]
        "detail": row.detail,
        "customer": row.customer_external_id,
        "workspace": row.workspace_external_id,
        "event_name": row.event_name,
        "identifier": row.identifier,
        "timestamp": row.timestamp,
        "properties": write_json(row.properties),
        "received_at": row.received_at,
        "state": row.state,
        "resolved_at": row.resolved_at,
        "resolved_by": row.resolved_by.username if row.resolved_by else "",
        "resolution": row.resolution,
    }
