"""Backfills for tests, made and decided by the services that do so in life."""

from datetime import datetime

from billing_project.kernel.approvals import approve
from billing_project.kernel.users import worker_user
from metering.events import EventInput
from metering.models import Backfill, BackfillProposal, Customer
from metering.services.backfilling import apply_backfill
from metering.services.backfills import (
    Line,
    UploadResult,
    add_backfill_lines,
    next_line,
    propose_backfill,
    start_backfill,
)
from metering.services.previewing import Preview, try_backfill
from tests.metering.late import a_person


def a_backfill(
    customer: Customer, start_at: datetime, end_at: datetime, at: datetime, *names: str
) -> Backfill:
    """Begin to replace a range."""
    return start_backfill(
        customer=customer, start_at=start_at, end_at=end_at, event_names=names,
        reason="the collector lost some", by=a_person("eli.back", "engineering"), at=at,
    )  # fmt: skip


def upload(backfill: Backfill, at: datetime, *events: EventInput) -> UploadResult:
    """Take lines in."""
    first = next_line(backfill)
    lines = [Line(number, event) for number, event in enumerate(events, start=first)]
    return add_backfill_lines(backfill=backfill, lines=lines, by=backfill.created_by, at=at)


def tried(backfill: Backfill, at: datetime) -> Preview[None]:
    """Preview without prices."""
    return try_backfill(backfill=backfill, by=worker_user(), at=at, measure=lambda: None)


def submitted(backfill: Backfill, at: datetime) -> BackfillProposal:
    """Propose the state that stands now."""
    return propose_backfill(
        backfill=backfill, state_sha256=tried(backfill, at).carried.state_sha256,
        effect={"lines": 1}, by=backfill.created_by, at=at,
    )  # fmt: skip


def approved(backfill: Backfill, at: datetime) -> BackfillProposal:
    """Propose, and let somebody else approve."""
    proposal = submitted(backfill, at)
    approver = a_person("ann.back", "finance_approver")
    approve(change=proposal.policy_change, by=approver, reason="as measured", at=at)
    return proposal


def applied(backfill: Backfill, at: datetime) -> Backfill:
    """Propose, approve and apply."""
    approved(backfill, at)
    return apply_backfill(backfill=backfill, by=backfill.created_by, at=at)
