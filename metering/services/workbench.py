"""Name who answers for a group of quarantined events, and decide conflicts."""

from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid, NotFound
from billing_project.kernel.models import User
from metering.models import QuarantineAssignment, QuarantinedEvent, QuarantineRole
from metering.models.event import QuarantineReason, QuarantineState
from metering.selectors.quarantine import ConflictOf, conflict_of
from metering.services.adjust import amend_event
from metering.services.quarantine import locked_rows, resolve_rows
from metering.services.retrying import atomic_with_retries


@transaction.atomic
def assign_group(
    *,
    reason: str,
    missing: str,
    role: str,
    by: User,
    at: datetime,
    person: User | None = None,
    note: str = "",
) -> QuarantineAssignment:
    """Let a role, or a person of it, answer for a group from now on, for later rows too.

    Raises:
        Invalid: no such role or reason, or the person has not the role.
    """
    if role not in QuarantineRole.values or reason not in QuarantineReason.values:
        raise Invalid(f"role is one of {', '.join(QuarantineRole.values)}")
    if person is not None and not _has(person, role):
        raise Invalid(f"{person} is not of {role}")
    made = QuarantineAssignment.objects.create(
        reason=reason, missing=missing, role=role, person=person, note=note,
        created_by=by, created_at=at,
    )  # fmt: skip
    audit.record(
        by=by, at=at, action="assign_quarantine_group", subject=made, reason=note,
        group=missing, role=role, person=person.username if person else "",
    )  # fmt: skip
    return made


@atomic_with_retries
def keep_stored_event(*, row_id: int, reason: str, by: User, at: datetime) -> QuarantinedEvent:
    """Decide a conflict for the event that is stored; the other report is dismissed.

    Raises:
        Invalid: no reason. NotFound: no such row is open. Conflict: it contradicts nothing.
    """
    row, _ = _decided(row_id, reason)
    audit.record(by=by, at=at, action="keep_stored_event", subject=row, reason=reason)
    resolve_rows([row], QuarantineState.DISMISSED, f"kept the stored event: {reason}", by, at)
    row.refresh_from_db()
    return row


@atomic_with_retries
def amend_stored_event(*, row_id: int, reason: str, by: User, at: datetime) -> QuarantinedEvent:
    """Decide a conflict for the quarantined report: the stored event counts with its content.

    Raises:
        Invalid: no reason, or a value that no meter can read.
        NotFound: no such row is open.
        Conflict: it differs in what no amendment can change, or the event was cancelled.
    """
    row, found = _decided(row_id, reason)
    if found.fixed:
        raise Conflict(
            f"it differs in {', '.join(found.fixed)}, which no amendment can change:"
            " cancel the stored event and have it sent again under a new identifier"
        )
    amend_event(
        customer=found.event.customer,
        identifier=row.identifier,
        properties=row.properties,
        reason=reason,
        by=by,
        at=at,
    )
    audit.record(by=by, at=at, action="amend_stored_event", subject=row, reason=reason)
    resolve_rows([row], QuarantineState.AMENDED, f"amended the stored event: {reason}", by, at)
    row.refresh_from_db()
    return row


def _decided(row_id: int, reason: str) -> tuple[QuarantinedEvent, ConflictOf]:
    """Lock a row that waits for a decision, with what it contradicts."""
    if not reason.strip():
        raise Invalid("a decision needs its reason")
    rows = locked_rows([row_id])
    if not rows:
        raise NotFound("this report is not open any more")
    found = conflict_of(rows[0])
    if found is None:
        raise Conflict("this report contradicts no stored event")
    return rows[0], found


def _has(person: User, role: str) -> bool:
    return person.is_superuser or person.groups.filter(name=role).exists()
