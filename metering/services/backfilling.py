"""Apply and revert backfills: adjustments and new events in one transaction, windows moved at once.

Order of locks: backfill, batches by id, identities, windows by key, outbox. An event that is stored
while a backfill is applied is not in its plan: it stays, and the next preview shows it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.quantity import how_many
from metering.models import (
    Backfill,
    BackfillBatch,
    BackfillProposal,
    BackfillState,
    EventBatch,
)
from metering.selectors.archive import refuse_archived
from metering.selectors.meters import meter_rules
from metering.services.aggregate import announce_usage
from metering.services.moving import move_usage
from metering.services.planning import (
    Counts,
    conflicting_identifiers,
    lock_batches,
    plan_apply,
    plan_revert,
    plan_sha256,
)
from metering.services.retrying import atomic_with_retries
from metering.services.storing import NewEvent, store_events

_CHUNK = 2_000  # New events of one batch.
_LOOKING, _CORRECTING = "comparing with the stored events", "correcting usage windows"

_ADJUST = """
INSERT INTO meter_event_adjustment (customer_id, identifier, event_id, "timestamp", type,
                                    properties, reason, created_by_id, created_at, backfill_id,
                                    generation)
SELECT %(customer)s, identifier, event_id, "timestamp", kind, after, %(reason)s, %(by)s, %(at)s,
       %(backfill)s, generation + (kind = 'reinstate')::integer
FROM backfill_plan WHERE kind IN ('cancel', 'amend', 'reinstate') ORDER BY event_id
"""
_NEW = """
SELECT b.identifier, b.workspace_id, b.event_name, b."timestamp", b.content_sha256,
       convert_to(b.properties::text, 'UTF8')
FROM backfill_plan p
JOIN backfill_event b ON b.identifier = p.identifier AND p.kind = 'add'
WHERE b.backfill_id = %(backfill)s AND p.identifier COLLATE "C" > %(last)s
ORDER BY p.identifier COLLATE "C" LIMIT %(limit)s -- As a batch is sorted.
"""
# The plan is a temporary table without an index; a chunk is found by its first identifier.
_INDEX = """
CREATE INDEX ON backfill_plan (identifier COLLATE "C") WHERE kind = 'add'
"""
_FIND_ADDED = """
UPDATE backfill_plan p SET event_id = f.id, batch_id = f.batch_id
FROM (
    SELECT a.identifier, e.id, e.batch_id
    FROM backfill_plan a
    CROSS JOIN LATERAL (
        SELECT event_id, "timestamp" FROM event_identity
        WHERE customer_id = %(customer)s AND identifier = a.identifier OFFSET 0
    ) i
    CROSS JOIN LATERAL (
        SELECT id, batch_id FROM meter_event
        WHERE id = i.event_id AND customer_id = %(customer)s AND "timestamp" = i."timestamp"
        OFFSET 0
    ) e
    WHERE a.kind = 'add'
) f
WHERE p.kind = 'add' AND p.identifier = f.identifier
"""
_ADDED_BATCHES = "SELECT DISTINCT batch_id FROM backfill_plan WHERE kind = 'add' ORDER BY batch_id"
_MOVED = """
SELECT p.event_id AS id, %(customer)s::bigint AS customer_id, p.workspace_id, p.event_name,
       p.identifier, p."timestamp", v.properties, v.sign, p.batch_id
FROM backfill_plan p
CROSS JOIN LATERAL (VALUES (p.before, -1), (p.after, 1)) AS v(properties, sign)
WHERE p.is_aggregated AND p.kind <> 'keep' AND v.properties IS NOT NULL
"""


@dataclass(frozen=True)
class Carried:
    """What was done to the events of a range, and the state that it was in."""

    counts: Counts
    state_sha256: str


# Is told what is done just now, how much of it, and of how much; the whole stays one transaction.
Tell = Callable[[str, int, int], None]


def tell_nobody(step: str, done: int, total: int) -> None:
    """Keep progress to oneself."""


@atomic_with_retries
def apply_backfill(
    *, backfill: Backfill, by: User, at: datetime, tell: Tell = tell_nobody
) -> Backfill:
    """Let the range be what was uploaded and approved; applied already, it is returned as it is.

    Raises:
        Conflict: it is not submitted, not approved, or the range has changed since its preview.
    """
    locked = _locked(backfill)
    if locked.state == BackfillState.APPLIED:
        return locked
    proposal = approved_proposal(locked)
    counts = carry_out(locked, by, at, proposal.state_sha256, tell).counts
    locked.state, locked.applied_by, locked.applied_at = BackfillState.APPLIED, by, at
    locked.save(update_fields=["state", "applied_by", "applied_at"])
    _record(locked, "apply_backfill", counts, locked.reason, by, at)
    return locked


@atomic_with_retries
def revert_backfill(
    *, backfill: Backfill, reason: str, by: User, at: datetime, tell: Tell = tell_nobody
) -> Backfill:
    """Take an applied backfill back: what it cancelled counts again, what it added does not.

    Events that somebody adjusted since stay as they are. Reverted already, it is returned.

    Raises:
        Invalid: no reason.
        Conflict: it is not applied.
    """
    if not reason.strip():
        raise Invalid("to revert a backfill needs its reason")
    locked = _locked(backfill)
    if locked.state == BackfillState.REVERTED:
        return locked
    if locked.state != BackfillState.APPLIED:
        raise Conflict(f"{locked} is {locked.state}: only an applied one is reverted")
    tell(_LOOKING, 0, 0)
    lock_batches(locked)
    refuse_archived(locked.start_at, locked.end_at)
    counts = plan_revert(locked)
    tell(_CORRECTING, 0, counts.changed)
    _adjust(locked, f"Revert of {locked}: {reason}", by, at)
    _move(locked, at)
    locked.state, locked.reverted_by, locked.reverted_at = BackfillState.REVERTED, by, at
    locked.save(update_fields=["state", "reverted_by", "reverted_at"])
    _record(locked, "revert_backfill", counts, reason, by, at)
    return locked


def carry_out(
    backfill: Backfill,
    by: User,
    at: datetime,
    expected_sha256: str | None = None,
    tell: Tell = tell_nobody,
) -> Carried:
    """Replace the range; the caller holds the backfill's lock and decides whether it stays.

    Raises:
        Conflict: the range is not in the expected state, or an event is stored elsewhere.
    """
    tell(_LOOKING, 0, 0)
    lock_batches(backfill)
    refuse_archived(backfill.start_at, backfill.end_at)
    counts = plan_apply(backfill)
    state_sha256 = plan_sha256()
    if expected_sha256 not in (None, state_sha256):
        raise Conflict(
            "the events of the range have changed since the preview: the approval does not hold"
            " for them; submit the backfill again",
            code="backfill_state_changed",
        )
    if counts.conflict:
        names = ", ".join(conflicting_identifiers())
        raise Conflict(
            "stored with another time, workspace or name:"
            f" {how_many(counts.conflict, 'identifier')} ({names}); such use needs"
            " identifiers of its own",
            code="identifier_conflict",
        )
    if counts.add:
        _add(backfill, at, counts, tell)
    tell(_CORRECTING, counts.add, counts.changed)
    _adjust(backfill, f"{str(backfill).capitalize()}: {backfill.reason}", by, at)
    _move(backfill, at)
    return Carried(counts, state_sha256)


def _locked(backfill: Backfill) -> Backfill:
    rows = Backfill.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("customer").get(pk=backfill.pk)


def approved_proposal(backfill: Backfill) -> BackfillProposal:
    """Return what was approved.

    Raises:
        Conflict: it is not submitted, or nobody approved its newest proposal.
    """
    if backfill.state != BackfillState.SUBMITTED:
        raise Conflict(f"{backfill} is {backfill.state}: only a submitted one is applied")
    proposals = BackfillProposal.objects.filter(backfill=backfill).select_related("policy_change")
    proposal = proposals.order_by("-number").first()
    if proposal is None or proposal.policy_change.status != PolicyStatus.APPROVED:
        status = "missing" if proposal is None else proposal.policy_change.status
        raise Conflict(f"the decision on {backfill} is {status}: it is not applied")
    return proposal


def _add(backfill: Backfill, at: datetime, counts: Counts, tell: Tell) -> None:
    """Store the new events in the usual way, as batches that are aggregated here.

    Where one was stored by a request meanwhile, the whole is repeated, and finds the range changed.
    """
    done = 0
    for chunk in _new_events(backfill):
        store_events(chunk, at)
        done += len(chunk)
        tell("storing events", done, counts.changed)
    with connection.cursor() as cursor:
        cursor.execute(_FIND_ADDED, {"customer": backfill.customer_id})
        cursor.execute(_ADDED_BATCHES)
        batches = [pk for (pk,) in cursor.fetchall()]
    EventBatch.objects.filter(pk__in=batches).update(aggregated_at=at)
    BackfillBatch.objects.bulk_create(
        BackfillBatch(backfill=backfill, batch_id=batch_id) for batch_id in batches
    )


def _new_events(backfill: Backfill) -> Iterator[list[NewEvent]]:
    last = ""
    with connection.cursor() as cursor:
        cursor.execute(_INDEX)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_NEW, {"backfill": backfill.pk, "last": last, "limit": _CHUNK})
            chunk = [NewEvent(backfill.customer_id, *row) for row in cursor.fetchall()]
        if not chunk:
            return
        yield chunk
        last = chunk[-1].identifier


def _adjust(backfill: Backfill, reason: str, by: User, at: datetime) -> None:
    params: dict[str, int | str | datetime] = {
        "customer": backfill.customer_id,
        "reason": reason,
        "by": by.pk,
        "at": at,
        "backfill": backfill.pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(_ADJUST, params)


def _move(backfill: Backfill, at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT event_name FROM backfill_plan WHERE kind <> 'keep'")
        names = [name for (name,) in cursor.fetchall()]
    touched = move_usage(_MOVED, {"customer": backfill.customer_id}, meter_rules(names), at)
    announce_usage(touched, at)


def _record(
    backfill: Backfill, action: str, counts: Counts, reason: str, by: User, at: datetime
) -> None:
    audit.record(
        by=by, at=at, action=action, subject=backfill, reason=reason,
        added=counts.add, amended=counts.amend, cancelled=counts.cancel,
        reinstated=counts.reinstate, kept=counts.keep,
    )  # fmt: skip
