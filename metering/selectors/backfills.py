"""Backfills: how far each is, what it was approved as, and what is wrong with its lines."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet

from billing_project.kernel.approvals import content_of
from billing_project.kernel.errors import NotFound
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange
from metering.models import (
    Backfill,
    BackfillBatch,
    BackfillError,
    BackfillEvent,
    BackfillProposal,
    BackfillRun,
    BackfillRunState,
    BackfillWork,
    EventBatch,
    MeterEvent,
    MeterEventAdjustment,
)

PREVIEWED_AT_ONCE = 20_000  # Events, uploaded or stored: a few seconds.


@dataclass(frozen=True)
class BackfillCounts:
    """What was uploaded, and what was done with it so far; a revert adds its own adjustments."""

    line_count: int
    error_count: int
    added_count: int
    adjustment_count: int


def backfills(customer_external_id: str | None = None) -> QuerySet[Backfill]:
    """List backfills, newest first; of one customer if named."""
    found = Backfill.objects.select_related("customer", "created_by")
    if customer_external_id is not None:
        found = found.filter(customer__external_id=customer_external_id)
    return found.order_by("-id")


def find_backfill(backfill_id: int) -> Backfill:
    """Return a backfill.

    Raises:
        NotFound: there is none of this id.
    """
    backfill = backfills().filter(pk=backfill_id).first()
    if backfill is None:
        raise NotFound(f"no backfill has the id {backfill_id}")
    return backfill


def newest_proposal(backfill: Backfill) -> BackfillProposal | None:
    """Return the proposal that counts, or None before the first."""
    rows = BackfillProposal.objects.filter(backfill=backfill)
    return rows.select_related("policy_change__proposed_by").order_by("-number").first()


def is_large(backfill: Backfill) -> bool:
    """Tell whether a preview takes longer than somebody waits for an answer."""
    stored = MeterEvent.objects.filter(
        customer_id=backfill.customer_id,
        timestamp__gte=backfill.start_at,
        timestamp__lt=backfill.end_at,
    )
    uploaded = BackfillEvent.objects.filter(backfill=backfill)
    most = PREVIEWED_AT_ONCE + 1
    return stored[:most].count() + uploaded[:most].count() >= most


def newest_preview(backfill: Backfill) -> BackfillRun | None:
    """Return the worker's last preview of what is uploaded now, or None."""
    run = backfill.runs.filter(kind=BackfillWork.PREVIEW, state=BackfillRunState.FINISHED).first()
    if run is None or run.effect is None:
        return None
    lines = BackfillEvent.objects.filter(backfill=backfill).count()
    return run if run.effect["lines"] == lines else None


def counts_of(backfill: Backfill) -> BackfillCounts:
    """Count a backfill's lines, faults, added events and adjustments."""
    batches = BackfillBatch.objects.filter(backfill=backfill).values("batch_id")
    added = EventBatch.objects.filter(pk__in=batches).values_list("event_count", flat=True)
    return BackfillCounts(
        line_count=BackfillEvent.objects.filter(backfill=backfill).count(),
        error_count=BackfillError.objects.filter(backfill=backfill).count(),
        added_count=sum(added),
        adjustment_count=MeterEventAdjustment.objects.filter(backfill=backfill).count(),
    )


def errors_of(backfill: Backfill) -> QuerySet[BackfillError]:
    """List a backfill's lines with faults, the newest first."""
    return BackfillError.objects.filter(backfill=backfill).order_by("-id")


def error_file(backfill: Backfill) -> Iterator[str]:
    """Write the faults of a backfill's lines as CSV, row by row."""
    yield _csv_row(["line", "identifier", "code", "detail"])
    rows = BackfillError.objects.filter(backfill=backfill).order_by("line", "id")
    for row in rows.values_list("line", "identifier", "code", "detail").iterator(1000):
        yield _csv_row([_harmless(str(cell)) for cell in row])


def content_of_backfill(row: BackfillProposal) -> dict[str, object]:
    """Return the whole content of a proposal."""
    backfill = row.backfill
    return {
        "customer": backfill.customer.external_id,
        "start_at": backfill.start_at,
        "end_at": backfill.end_at,
        "event_names": backfill.event_names,
        "number": row.number,
        "state_sha256": row.state_sha256,
        "upload_sha256": row.upload_sha256,
        **row.effect,
    }


def _harmless(cell: str) -> str:
    """Keep a spreadsheet from reading a sender's text as a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _csv_row(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


register_kind(
    Kind(
        "backfill",
        "Backfill of usage",
        is_rule=False,
        consequence="It may then be applied, once, if nothing that it touches changed since.",
    )
)


@content_of("backfill")
def _backfill(change: PolicyChange) -> dict[str, object]:
    rows = BackfillProposal.objects.select_related("backfill__customer")
    return content_of_backfill(rows.get(policy_change=change))
