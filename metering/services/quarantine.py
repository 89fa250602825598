"""Replay what was kept once it can be billed, or dismiss it; each row is resolved once."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from billing_project.kernel import audit
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from metering.events import EventInput
from metering.judging import Status, Verdict
from metering.models import Customer, QuarantinedEvent
from metering.models.event import MENDABLE, QuarantineReason, QuarantineState
from metering.selectors.customers import customer_ids
from metering.services.capture import Candidate, settle_candidates
from metering.services.customers import add_alias
from metering.services.retrying import atomic_with_retries
from metering.services.superseding import SUPERSEDED

_AT_ONCE = 1000


@dataclass(frozen=True)
class ReplayResult:
    """What became of the open rows that were asked for.

    Duplicates are resolved too: their event was stored meanwhile, by its sender's retry. What the
    sender corrected since is superseded: dismissed, for the corrected report was stored.
    """

    replayed: int = 0
    still_open: int = 0
    duplicates: int = 0
    conflicts: int = 0
    superseded: int = 0

    @property
    def tried(self) -> int:
        """How many rows were open and chosen."""
        counts = (self.replayed, self.still_open, self.duplicates, self.conflicts)
        return sum(counts) + self.superseded

    def __add__(self, other: "ReplayResult") -> "ReplayResult":
        return ReplayResult(
            self.replayed + other.replayed,
            self.still_open + other.still_open,
            self.duplicates + other.duplicates,
            self.conflicts + other.conflicts,
            self.superseded + other.superseded,
        )


def replay_quarantine(
    *,
    by: User,
    at: datetime,
    customer_external_id: str | None = None,
    reason: str | None = None,
    ids: Collection[int] | None = None,
) -> ReplayResult:
    """Store the open quarantined events that have become billable.

    An event whose sender gave no time counts when it was first received; the time window was
    judged then and is not judged again. A row that was kept as a conflict stays open: somebody has
    to decide. Late events that their policy keeps are stored only if they are asked for by reason
    or by id: billing an invoiced period is a decision of its own.

    Args:
        customer_external_id, reason, ids: Which rows; all given ones must match.
    """
    rows = QuarantinedEvent.objects.filter(state=QuarantineState.OPEN)
    if customer_external_id is not None:
        rows = rows.filter(customer_external_id=customer_external_id)
    if reason is not None:
        rows = rows.filter(reason=reason)
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    if reason is None and ids is None:
        rows = rows.exclude(reason=QuarantineReason.PERIOD_CLOSED)
    wanted = list(rows.order_by("id").values_list("id", flat=True))
    result = ReplayResult()
    for start in range(0, len(wanted), _AT_ONCE):
        result += _replay(wanted[start : start + _AT_ONCE], by, at)
    return result


def map_customer_id(
    *, external_id: str, customer: Customer, reason: str, by: User, at: datetime
) -> ReplayResult:
    """Let an unknown id name a customer, and store all that waited under it.

    The alias stands even if the replay is cut off: the rest can be replayed again.

    Raises:
        Invalid: no reason, or the id cannot be an alias.
        Conflict: the id names another customer already.
    """
    add_alias(external_id=external_id, customer=customer, reason=reason, by=by, at=at)
    return replay_quarantine(by=by, at=at, customer_external_id=external_id)


@atomic_with_retries
def dismiss_quarantined(*, ids: Collection[int], reason: str, by: User, at: datetime) -> int:
    """Close open rows without billing them; return how many were open.

    Raises:
        Invalid: no reason.
    """
    if not reason.strip():
        raise Invalid("a dismissal needs its reason")
    rows = _locked(ids)
    for row in rows:
        audit.record(by=by, at=at, action="dismiss_quarantined", subject=row, reason=reason)
    return _resolve(rows, QuarantineState.DISMISSED, reason, by, at)


@atomic_with_retries
def _replay(ids: Sequence[int], by: User, at: datetime) -> ReplayResult:
    rows = _locked(ids)
    verdicts = settle_candidates(_candidates(rows), None, at)
    stored = [row for i, row in enumerate(rows) if i not in verdicts]
    repeated = [
        row for i, row in enumerate(rows) if i in verdicts and verdicts[i].status == "duplicate"
    ]
    _resolve(stored, QuarantineState.REPLAYED, "stored", by, at)
    _resolve(repeated, QuarantineState.REPLAYED, "was stored before", by, at)
    superseded = _superseded(rows, verdicts)
    _resolve(superseded, QuarantineState.DISMISSED, SUPERSEDED, by, at)
    for row in (*stored, *repeated, *superseded):
        audit.record(by=by, at=at, action="replay_quarantine", subject=row)
    by_status = Counter(verdict.status for verdict in verdicts.values())
    return ReplayResult(
        replayed=len(stored),
        still_open=by_status[Status.QUARANTINED] + by_status[Status.REJECTED],
        duplicates=by_status[Status.DUPLICATE],
        conflicts=by_status[Status.CONFLICT] - len(superseded),
        superseded=len(superseded),
    )


def _superseded(
    rows: Sequence[QuarantinedEvent], verdicts: Mapping[int, Verdict]
) -> list[QuarantinedEvent]:
    """Choose the rows whose event is stored with other content, and that were no conflict."""
    return [
        row
        for i, row in enumerate(rows)
        if i in verdicts and verdicts[i].status == Status.CONFLICT and row.reason in MENDABLE
    ]


def _locked(ids: Collection[int]) -> list[QuarantinedEvent]:
    """Lock the rows that are still open, by id; another replay waits here and finds none."""
    rows = QuarantinedEvent.objects.filter(pk__in=ids, state=QuarantineState.OPEN)
    return list(rows.order_by("id").select_for_update(no_key=True))


def _candidates(rows: Sequence[QuarantinedEvent]) -> list[Candidate]:
    customers = customer_ids(row.customer_external_id for row in rows)
    return [
        Candidate(
            index=i,
            sent=_sent(row),
            timestamp=row.timestamp,
            sha256=bytes(row.content_sha256),
            customer_id=customers.get(row.customer_external_id),
        )
        for i, row in enumerate(rows)
    ]


def _sent(row: QuarantinedEvent) -> EventInput:
    return EventInput(
        event_name=row.event_name,
        identifier=row.identifier,
        customer=row.customer_external_id,
        workspace=row.workspace_external_id,
        timestamp=row.timestamp if row.is_timestamp_sent else None,
        properties=row.properties,
    )


def _resolve(
    rows: Sequence[QuarantinedEvent], state: QuarantineState, words: str, by: User, at: datetime
) -> int:
    chosen = QuarantinedEvent.objects.filter(pk__in=[row.pk for row in rows])
    return chosen.update(state=state, resolved_at=at, resolved_by=by, resolution=words)
