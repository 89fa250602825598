"""Make a backfill, take its lines in, and propose it for somebody else's decision."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models import Max

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, propose_version, withdraw
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.period import HOUR, hour_of
from billing_project.kernel.quantity import how_many
from metering.aggregation import MeterRule
from metering.content import content_sha256
from metering.events import BadItem, EventInput
from metering.exact import write_json
from metering.judging import judge_values, why_unread
from metering.models import (
    Backfill,
    BackfillError,
    BackfillEvent,
    BackfillProposal,
    BackfillState,
    Customer,
)
from metering.selectors.archive import refuse_archived
from metering.selectors.backfills import content_of_backfill, newest_proposal
from metering.selectors.customers import customer_ids
from metering.selectors.meters import rules_by_event_name
from metering.services.storing import ensure_workspaces

MAX_LINES = 1_000_000
_LONGEST = timedelta(days=366)
_INSERT = """
INSERT INTO backfill_event (backfill_id, line, identifier, event_name, workspace_id, "timestamp",
                            properties, content_sha256)
SELECT %(backfill)s, line, identifier, event_name, workspace_id, "timestamp", properties,
       decode(sha256, 'hex')
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
    line integer, identifier text, event_name text, workspace_id bigint, "timestamp" timestamptz,
    properties jsonb, sha256 text)
ORDER BY line
ON CONFLICT DO NOTHING RETURNING line
"""


@dataclass(frozen=True)
class Line:
    """One line of an upload: what it says, or why it cannot be read."""

    number: int
    item: EventInput | BadItem


@dataclass(frozen=True)
class Fault:
    """Why a line is no event of the backfill."""

    code: str
    detail: str


Bad = tuple[Line, Fault]


@dataclass(frozen=True)
class UploadResult:
    """What became of uploaded lines; repeated ones said the same before."""

    accepted: int = 0
    repeated: int = 0
    refused: int = 0

    def __add__(self, other: "UploadResult") -> "UploadResult":
        return UploadResult(
            self.accepted + other.accepted,
            self.repeated + other.repeated,
            self.refused + other.refused,
        )


@transaction.atomic
def start_backfill(
    *,
    customer: Customer,
    start_at: datetime,
    end_at: datetime,
    reason: str,
    by: User,
    at: datetime,
    event_names: Sequence[str] = (),
) -> Backfill:
    """Begin to replace a customer's events of [start, end).

    Args:
        start_at, end_at: Whole UTC hours, so that every usage window lies inside or outside.
        event_names: Only events of these names; empty means all.

    Raises:
        Invalid: no reason; bounds that are no whole hours, or not in order, or in the future.
    """
    start, end = start_at.astimezone(UTC), end_at.astimezone(UTC)
    if not reason.strip():
        raise Invalid("a backfill needs its reason")
    if hour_of(start) != start or hour_of(end) != end:
        raise Invalid("a backfill begins and ends on a whole UTC hour")
    if not start < end <= start + _LONGEST or end > hour_of(at.astimezone(UTC)) + HOUR:
        raise Invalid("a backfill ends after its start, within 366 days, and not in the future")
    refuse_archived(start, end)
    backfill = Backfill.objects.create(
        customer=customer, start_at=start, end_at=end, event_names=sorted(set(event_names)),
        reason=reason, created_by=by, created_at=at,
    )  # fmt: skip
    audit.record(by=by, at=at, action="start_backfill", subject=backfill, reason=reason)
    return backfill


@transaction.atomic
def add_backfill_lines(
    *, backfill: Backfill, lines: Sequence[Line], by: User, at: datetime
) -> UploadResult:
    """Take lines in; each that cannot be an event of the backfill is kept with its fault.

    The same event again is no fault; one identifier with two contents is.

    Raises:
        Conflict: the backfill takes no lines any more, or has too many.
    """
    locked = lock_backfill(backfill)
    if locked.state != BackfillState.OPEN:
        raise Conflict(f"{locked} is {locked.state}: it takes no lines any more")
    good, bad = _sort_out(locked, lines)
    accepted, repeated, conflicts = _store(locked, good, at)
    bad += conflicts
    BackfillError.objects.bulk_create(
        BackfillError(
            backfill=locked, line=line.number, identifier=line.item.identifier[:128],
            code=fault.code, detail=fault.detail[:1000],
        )
        for line, fault in bad
    )  # fmt: skip
    if BackfillEvent.objects.filter(backfill=locked).count() > MAX_LINES:
        raise Conflict(f"a backfill has at most {MAX_LINES:,} events")
    return UploadResult(accepted, repeated, len(bad))


def next_line(backfill: Backfill) -> int:
    """Return the number of the next line, for uploads that come in batches."""
    rows = (model.objects.filter(backfill=backfill) for model in (BackfillEvent, BackfillError))
    return max(qs.aggregate(last=Max("line"))["last"] or 0 for qs in rows) + 1


@transaction.atomic
def propose_backfill(
    *,
    backfill: Backfill,
    state_sha256: str,
    effect: Mapping[str, object],
    by: User,
    at: datetime,
) -> BackfillProposal:
    """Put a previewed backfill before a finance approver; the same state again is no new proposal.

    Args:
        state_sha256: The state of the range that was previewed.
        effect: What it would change: counts, quantities and money.

    Raises:
        Conflict: it was applied or discarded; a line has a fault; nothing was uploaded; another
            person's proposal waits for its decision.
    """
    locked = lock_backfill(backfill)
    if locked.state not in (BackfillState.OPEN, BackfillState.SUBMITTED):
        raise Conflict(f"{locked} is {locked.state}: it is not submitted any more")
    if faults := BackfillError.objects.filter(backfill=locked).count():
        raise Conflict(f"{how_many(faults, 'line')} with faults: discard it and upload anew")
    before = newest_proposal(locked)
    if before is not None and _stands(before, state_sha256, by, at):
        return before
    number = before.number + 1 if before else 1
    row = BackfillProposal(
        backfill=locked, number=number, state_sha256=state_sha256,
        upload_sha256=_upload_sha256(locked), effect=dict(effect),
    )  # fmt: skip
    propose_version(
        row,
        kind="backfill",
        subject=f"backfill:{locked.pk}:{number}",
        content=content_of_backfill(row),
        proposal=Proposal(
            title=f"Replace events of {locked.customer.name}, {_range_text(locked)}"[:200],
            product_requirement=locked.reason,
            engineering_note="Holds for the previewed state of the range only; reverted as one.",
            reason_code="backfill",
            effective_at=at,
        ),
        by=by,
        at=at,
    )
    locked.state = BackfillState.SUBMITTED
    locked.save(update_fields=["state"])
    return row


@transaction.atomic
def discard_backfill(*, backfill: Backfill, reason: str, by: User, at: datetime) -> Backfill:
    """Give up a backfill that was not applied; what was uploaded stays, for the record.

    Raises:
        Invalid: no reason.
        Conflict: it was applied.
    """
    if not reason.strip():
        raise Invalid("to discard a backfill needs its reason")
    locked = lock_backfill(backfill)
    if locked.state == BackfillState.DISCARDED:
        return locked
    if locked.state not in (BackfillState.OPEN, BackfillState.SUBMITTED):
        raise Conflict(f"{locked} is {locked.state}: revert it instead")
    locked.state = BackfillState.DISCARDED
    locked.save(update_fields=["state"])
    audit.record(by=by, at=at, action="discard_backfill", subject=locked, reason=reason)
    return locked


def lock_backfill(backfill: Backfill) -> Backfill:
    """Hold a backfill and return it as it stands now."""
    rows = Backfill.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("customer").get(pk=backfill.pk)


def _stands(before: BackfillProposal, state_sha256: str, by: User, at: datetime) -> bool:
    """Tell whether an earlier proposal is for this state; one for another is withdrawn."""
    change = before.policy_change
    is_live = change.status in (PolicyStatus.SUBMITTED, PolicyStatus.APPROVED)
    if is_live and before.state_sha256 == state_sha256:
        return True
    if change.status == PolicyStatus.SUBMITTED:
        if change.proposed_by_id != by.pk:
            raise Conflict(f"the proposal of {change.proposed_by} waits for its decision")
        withdraw(change=change, by=by, reason="the range has changed", at=at)
    return False


def _sort_out(
    backfill: Backfill, lines: Sequence[Line]
) -> tuple[list[tuple[Line, EventInput]], list[Bad]]:
    events = [line.item for line in lines if isinstance(line.item, EventInput)]
    rules = rules_by_event_name()
    names = customer_ids({event.customer for event in events})
    own = {name for name, pk in names.items() if pk == backfill.customer_id}
    good: list[tuple[Line, EventInput]] = []
    bad: list[Bad] = []
    for line in lines:
        if isinstance(line.item, BadItem):
            bad.append((line, Fault(line.item.code, f"{line.item.path} {line.item.detail}")))
        elif fault := _fault(backfill, line.item, own, rules.get(line.item.event_name, ())):
            bad.append((line, fault))
        else:
            good.append((line, line.item))
    return good, bad


def _fault(
    backfill: Backfill, event: EventInput, own: set[str], rules: Sequence[MeterRule]
) -> Fault | None:
    if event.customer not in own:
        return Fault("other_customer", f"{event.customer} does not name {backfill.customer}")
    if event.timestamp is None:
        return Fault("missing_timestamp", "an event of a backfill says when it happened")
    if not backfill.start_at <= event.timestamp < backfill.end_at:
        return Fault("out_of_range", f"the range is {_range_text(backfill)}")
    if backfill.event_names and event.event_name not in backfill.event_names:
        return Fault("other_event_name", f"the backfill is about {', '.join(backfill.event_names)}")
    governing = [rule for rule in rules if rule.governs(event.timestamp)]
    if not governing:
        why = why_unread(event.event_name, rules, event.timestamp)
        return Fault("unknown_event_name", why)
    verdict = judge_values(event, governing)
    return None if verdict is None else Fault(verdict.code, verdict.detail)


def _store(
    backfill: Backfill, good: Sequence[tuple[Line, EventInput]], at: datetime
) -> tuple[int, int, list[Bad]]:
    """Store good lines; return how many are new, how many repeat, and those that contradict."""
    workspaces = ensure_workspaces(
        ((backfill.customer_id, event.workspace) for _, event in good if event.workspace), at
    )
    rows = [
        _row(line, event, workspaces.get((backfill.customer_id, event.workspace)))
        for line, event in good
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, {"backfill": backfill.pk, "rows": write_json(rows)})
        stored = {number for (number,) in cursor.fetchall()}
    rest = [(line, event) for line, event in good if line.number not in stored]
    known = _hashes(backfill, [event.identifier for _, event in rest])
    fault = Fault("identifier_conflict", "another line says something else of this identifier")
    conflicts = [
        (line, fault) for line, event in rest if known[event.identifier] != content_sha256(event)
    ]
    return len(stored), len(rest) - len(conflicts), conflicts


def _hashes(backfill: Backfill, identifiers: Sequence[str]) -> dict[str, bytes]:
    rows = BackfillEvent.objects.filter(backfill=backfill, identifier__in=identifiers)
    return {
        name: bytes(sha256) for name, sha256 in rows.values_list("identifier", "content_sha256")
    }


def _row(line: Line, event: EventInput, workspace_id: int | None) -> dict[str, object]:
    return {
        "line": line.number,
        "identifier": event.identifier,
        "event_name": event.event_name,
        "workspace_id": workspace_id,
        "timestamp": event.timestamp,
        "properties": event.properties,
        "sha256": content_sha256(event).hex(),
    }


def _upload_sha256(backfill: Backfill) -> str:
    """Hash what was uploaded: each content under its identifier, in order."""
    digest = hashlib.sha256()
    rows = BackfillEvent.objects.filter(backfill=backfill).order_by("identifier")
    for name, content in rows.values_list("identifier", "content_sha256").iterator(10_000):
        digest.update(name.encode() + b"\0" + bytes(content))
    return digest.hexdigest()


def _range_text(backfill: Backfill) -> str:
    return f"{backfill.start_at:%Y-%m-%d %H:%M} to {backfill.end_at:%Y-%m-%d %H:%M} UTC"
