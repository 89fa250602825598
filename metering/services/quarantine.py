"""Replay what was kept once it can be billed, or dismiss it; each row is resolved once."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import QuerySet

from billing_project.kernel import audit
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from metering.exact import to_json
from metering.judging import Status, Verdict
from metering.models import QuarantinedEvent
from metering.models.event import MENDABLE, QuarantineReason, QuarantineState
from metering.selectors.customers import customer_ids
from metering.selectors.quarantine import Chosen, sent_of
from metering.selectors.standing import standing
from metering.services.capture import Candidate, settle_candidates
from metering.services.deciding import ensure_may_decide
from metering.services.retrying import atomic_with_retries
from metering.services.superseding import SUPERSEDED
from metering.services.trying import keep_tries

_STILL_OPEN = {Status.QUARANTINED, Status.REJECTED}
AT_ONCE = 1000  # Rows of one transaction.


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
    # What the first of those that are still open lacks now: words, and no part of the counts.
    waits_for: str = field(default="", compare=False)

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
            self.waits_for or other.waits_for,
        )

    @property
    def closed(self) -> int:
        """How many of them wait no longer."""
        return self.replayed + self.duplicates + self.superseded


@dataclass(frozen=True)
class ReplayedPart:
    """A stretch of the chosen rows: what became of it, and how to go on."""

    result: ReplayResult
    last_id: int  # Go on after it.
    left: int  # Rows of the choice beyond it that were open.


def replay_quarantine(
    *,
    by: User,
    at: datetime,
    customer_external_id: str | None = None,
    reason: str | None = None,
    ids: Collection[int] | None = None,
    chosen: Chosen | None = None,
) -> ReplayResult:
    """Store all open quarantined events that have become billable, however many were chosen.

    An event whose sender gave no time counts when it was first received; the time window was
    judged then and is not judged again. A row that was kept as a conflict stays open: somebody has
    to decide. Late events that their policy keeps are stored only if they are asked for by reason
    or by id: billing an invoiced period is a decision of its own.

    Args:
        customer_external_id, reason, ids: Which rows; all given ones must match.
        chosen: The same said at once.

    Raises:
        NotAllowed: some of the rows are not this person's to decide on.
    """
    chosen = chosen or Chosen(customer_external_id=customer_external_id, reason=reason, ids=ids)
    ensure_may_decide(by, _to_replay(chosen))
    result = ReplayResult()
    wanted = list(_to_replay(chosen).order_by("id").values_list("id", flat=True))
    for start in range(0, len(wanted), AT_ONCE):
        result += replay_rows(wanted[start : start + AT_ONCE], by, at)
    return result


def replay_part(
    *, chosen: Chosen, by: User, at: datetime, after_id: int = 0, limit: int = AT_ONCE
) -> ReplayedPart:
    """Replay at most `limit` of the chosen rows, by id; what stays open is not tried twice.

    Args:
        after_id: `last_id` of the part before; 0 begins.

    Raises:
        NotAllowed: some of the chosen rows are not this person's to decide on.
    """
    ensure_may_decide(by, _to_replay(chosen))
    rows = _to_replay(chosen).filter(pk__gt=after_id).order_by("id")
    ids = list(rows.values_list("id", flat=True)[:limit])
    last_id = ids[-1] if ids else after_id
    result = replay_rows(ids, by, at)
    left = _to_replay(chosen).filter(pk__gt=last_id).count()
    return ReplayedPart(result, last_id, left)


def dismiss_quarantined(*, ids: Collection[int], reason: str, by: User, at: datetime) -> int:
    """Close open rows without billing them; return how many were open.

    Raises:
        Invalid: no reason.
        NotAllowed: some of the rows are not this person's to decide on.
    """
    if not reason.strip():
        raise Invalid("a dismissal needs its reason")
    ensure_may_decide(by, Chosen(ids=ids).open_rows())
    return dismiss_rows(ids, reason, by, at)


@atomic_with_retries
def dismiss_rows(ids: Collection[int], reason: str, by: User, at: datetime) -> int:
    """Close rows that are still open, in one transaction; whoever asked for it was allowed to."""
    rows = locked_rows(ids)
    audit.record_each(by=by, at=at, action="dismiss_quarantined", subjects=rows, reason=reason)
    return resolve_rows(rows, QuarantineState.DISMISSED, reason, by, at)


@atomic_with_retries
def replay_rows(ids: Sequence[int], by: User, at: datetime) -> ReplayResult:
    """Send rows that are still open through the door again, in one transaction.

    Whoever asked for it was allowed to.
    """
    rows = locked_rows(ids)
    verdicts = settle_candidates(_candidates(rows), standing(at), None, at)
    stored = [row for i, row in enumerate(rows) if i not in verdicts]
    repeated = [
        row for i, row in enumerate(rows) if i in verdicts and verdicts[i].status == "duplicate"
    ]
    resolve_rows(stored, QuarantineState.REPLAYED, "stored", by, at)
    resolve_rows(repeated, QuarantineState.REPLAYED, "was stored before", by, at)
    superseded = _superseded(rows, verdicts)
    resolve_rows(superseded, QuarantineState.DISMISSED, SUPERSEDED, by, at)
    closed = (*stored, *repeated, *superseded)
    gone = {row.pk for row in closed}
    keep_tries([(row, verdicts[i]) for i, row in enumerate(rows) if row.pk not in gone], by, at)
    audit.record_each(by=by, at=at, action="replay_quarantine", subjects=closed)
    by_status = Counter(verdict.status for verdict in verdicts.values())
    open_ = [
        one for one in verdicts.values() if one.status in {Status.QUARANTINED, Status.REJECTED}
    ]
    return ReplayResult(
        replayed=len(stored),
        still_open=len(open_),
        duplicates=by_status[Status.DUPLICATE],
        conflicts=by_status[Status.CONFLICT] - len(superseded),
        superseded=len(superseded),
        waits_for=open_[0].detail if open_ else "",
    )


def open_ids(chosen: Chosen, limit: int) -> list[int]:
    """Return the first ids of the chosen rows that are open, ascending."""
    return list(chosen.open_rows().order_by("id").values_list("id", flat=True)[:limit])


def _to_replay(chosen: Chosen) -> QuerySet[QuarantinedEvent]:
    """Return the chosen open rows; a person's decision on late events is asked for by name."""
    rows = chosen.open_rows()
    if chosen.reason is None and chosen.ids is None:
        return rows.exclude(reason=QuarantineReason.PERIOD_CLOSED)
    return rows


def _superseded(
    rows: Sequence[QuarantinedEvent], verdicts: Mapping[int, Verdict]
) -> list[QuarantinedEvent]:
    """Choose the rows whose event is stored with other content, and that were no conflict."""
    return [
        row
        for i, row in enumerate(rows)
        if i in verdicts and verdicts[i].status == Status.CONFLICT and row.reason in MENDABLE
    ]


def locked_rows(ids: Collection[int]) -> list[QuarantinedEvent]:
    """Lock the rows that are still open, by id; another replay waits here and finds none."""
    rows = QuarantinedEvent.objects.filter(pk__in=ids, state=QuarantineState.OPEN)
    return list(rows.order_by("id").select_for_update(no_key=True))


def resolve_rows(
    rows: Sequence[QuarantinedEvent], state: QuarantineState, words: str, by: User, at: datetime
) -> int:
    """Close locked rows for good; return how many."""
    if not rows:
        return 0
    chosen = QuarantinedEvent.objects.filter(pk__in=[row.pk for row in rows])
    return chosen.update(state=state, resolved_at=at, resolved_by=by, resolution=words)


def _candidates(rows: Sequence[QuarantinedEvent]) -> list[Candidate]:
    customers = customer_ids(row.customer_external_id for row in rows)
    found = []
    for i, row in enumerate(rows):
        customer_id = customers.get(row.customer_external_id)
        key = None if customer_id is None else (customer_id, row.identifier)
        sha256, properties = bytes(row.content_sha256), to_json(row.properties)
        found.append(Candidate(i, sent_of(row), row.timestamp, sha256, properties, key))
    return found
