"""Take in events: each is stored once, kept in quarantine, or refused; none is lost silently.

One transaction for a batch: identities, events, quarantine and counters appear together, and the
answer is given after the commit. Locks are taken in one order: workspaces, identities,
quarantine, rejections; each sorted by its key.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings

from metering.aggregation import MeterRule
from metering.events import BadItem, EventInput, content_sha256
from metering.judging import Status, TimeWindow, Verdict, judge, judge_late
from metering.selectors.customers import customer_ids
from metering.selectors.late import late_quarantine
from metering.selectors.meters import rules_by_event_name
from metering.services.keeping import (
    Kept,
    Refused,
    count_rejections,
    keep_in_quarantine,
    kept_verdicts,
)
from metering.services.retrying import atomic_with_retries
from metering.services.storing import (
    Key,
    NewEvent,
    ensure_workspaces,
    store_events,
    stored_hashes,
)
from metering.services.superseding import supersede_quarantined

_DUPLICATE = Verdict(Status.DUPLICATE, "duplicate", "was stored before with the same content")
_CONFLICT = Verdict(Status.CONFLICT, "identifier_conflict", "was stored before with other content")


@dataclass(frozen=True)
class ItemResult:
    """What became of one item."""

    index: int
    identifier: str
    status: Status
    code: str = ""
    detail: str = ""
    path: str = "$"


@dataclass(frozen=True)
class CaptureResult:
    """Counts of a batch; `results` names every item that was not plainly accepted."""

    accepted: int
    duplicates: int
    conflicts: int
    quarantined: int
    rejected: int
    results: tuple[ItemResult, ...]


@dataclass(frozen=True)
class Candidate:
    """A readable event on its way.

    `sent` is what the sender wrote, `timestamp` when it counts as used; a replay brings its own.
    """

    index: int
    sent: EventInput
    timestamp: datetime
    sha256: bytes
    customer_id: int | None

    @property
    def key(self) -> Key | None:
        """The identity to claim, if the customer is known."""
        return None if self.customer_id is None else (self.customer_id, self.sent.identifier)


@atomic_with_retries
def capture_events(
    *,
    items: Sequence[EventInput | BadItem],
    sender: str,
    at: datetime,
    since: datetime | None = None,
) -> CaptureResult:
    """Judge and store what one request carried.

    Args:
        items: In the sender's order; what could not be read is a BadItem.
        sender: Name of the API key, for the counters of rejections.
        at: Instant of receipt; the time of use where the sender gave none.
        since: Accept use from this instant on, where older use was asked for by name.
    """
    events = [(i, item) for i, item in enumerate(items) if isinstance(item, EventInput)]
    verdicts = {i: _bad(item) for i, item in enumerate(items) if isinstance(item, BadItem)}
    candidates = _candidates(events, at)
    window = TimeWindow.around(at, settings.EVENT_DAYS_BACK, settings.EVENT_MINUTES_AHEAD)
    window = window if since is None else replace(window, first=min(since, window.first))
    verdicts.update(settle_candidates(candidates, window, at))
    verdicts.update(kept_verdicts(_refused_by_time(candidates, verdicts)))
    _keep(candidates, verdicts, at)
    supersede_quarantined(_stored_names(candidates, verdicts), at)
    results = tuple(_result(i, items[i], verdicts[i]) for i in sorted(verdicts))
    count_rejections(sender, _refused(items, results), at)
    return _summary(len(items), results)


def settle_candidates(
    candidates: Sequence[Candidate], window: TimeWindow | None, at: datetime
) -> dict[int, Verdict]:
    """Store what can be stored and say why for the rest, by index.

    What was stored before is looked for first: its retry is a duplicate for ever.
    """
    rules = rules_by_event_name(one.sent.event_name for one in candidates)
    verdicts = _judge_all(candidates, rules, window)
    if window:  # A replay is somebody's decision.
        verdicts.update(_judge_late(candidates, verdicts, at))
    first = _first_storable(candidates, verdicts)
    claimed = store_events(_new_events(list(first.values()), at), at)
    rest = [one for one in candidates if one.key not in claimed or first[one.key] is not one]
    known = stored_hashes(one.key for one in rest if one.key is not None)
    for one in rest:
        was_before = one.key in claimed and first[one.key].index > one.index
        if one.key in known and not was_before:
            verdicts[one.index] = _DUPLICATE if known[one.key] == one.sha256 else _CONFLICT
    assert all(one.index in verdicts for one in rest), "what was not stored has its reason"
    return verdicts


def _candidates(events: Sequence[tuple[int, EventInput]], at: datetime) -> list[Candidate]:
    ids = customer_ids(event.customer for _, event in events)
    return [
        Candidate(i, event, event.timestamp or at, content_sha256(event), ids.get(event.customer))
        for i, event in events
    ]


def _judge_all(
    candidates: Sequence[Candidate],
    rules: Mapping[str, Sequence[MeterRule]],
    window: TimeWindow | None,
) -> dict[int, Verdict]:
    verdicts = {}
    for one in candidates:
        is_known = one.customer_id is not None
        verdict = judge(one.sent, is_customer_known=is_known, rules=rules, window=window)
        if verdict is not None:
            verdicts[one.index] = verdict
    return verdicts


def _judge_late(
    candidates: Sequence[Candidate], verdicts: Mapping[int, Verdict], at: datetime
) -> dict[int, Verdict]:
    """Find what could be stored, but is late for a customer whose late events are kept."""
    closed = late_quarantine({one.customer_id for one in candidates if one.customer_id}, at)
    late = {
        one.index: judge_late(one.timestamp, closed.get(one.customer_id))
        for one in (candidates if closed else ())
        if one.customer_id is not None and one.index not in verdicts
    }
    return {index: verdict for index, verdict in late.items() if verdict is not None}


def _first_storable(
    candidates: Sequence[Candidate], verdicts: Mapping[int, Verdict]
) -> dict[Key, Candidate]:
    """Choose, for each identity, the first report in the sender's order that can be stored."""
    first: dict[Key, Candidate] = {}
    for one in candidates:
        if one.key is not None and one.index not in verdicts:
            first.setdefault(one.key, one)
    return first


def _new_events(candidates: Sequence[Candidate], at: datetime) -> list[NewEvent]:
    workspaces = ensure_workspaces(
        ((one.customer_id, one.sent.workspace) for one in candidates
         if one.customer_id is not None and one.sent.workspace), at,
    )  # fmt: skip
    return [
        NewEvent(
            customer_id=one.customer_id,
            workspace_id=workspaces.get((one.customer_id, one.sent.workspace)),
            event_name=one.sent.event_name,
            identifier=one.sent.identifier,
            timestamp=one.timestamp,
            sha256=one.sha256,
            properties=one.sent.properties,
        )
        for one in candidates
        if one.customer_id is not None
    ]


def _refused_by_time(
    candidates: Sequence[Candidate], verdicts: Mapping[int, Verdict]
) -> dict[int, Kept]:
    """Pick rejected items that may be late retries of what waits in quarantine."""
    return {
        one.index: _kept(one, verdicts[one.index])
        for one in candidates
        if one.index in verdicts and verdicts[one.index].code.startswith("timestamp_")
    }


def _keep(candidates: Sequence[Candidate], verdicts: Mapping[int, Verdict], at: datetime) -> None:
    kept = (Status.QUARANTINED, Status.CONFLICT)
    rows = [
        _kept(one, verdicts[one.index])
        for one in candidates
        if one.index in verdicts and verdicts[one.index].status in kept
    ]
    keep_in_quarantine(rows, at)


def _stored_names(
    candidates: Sequence[Candidate], verdicts: Mapping[int, Verdict]
) -> set[tuple[str, str]]:
    return {
        (one.sent.customer, one.sent.identifier) for one in candidates if one.index not in verdicts
    }


def _kept(one: Candidate, verdict: Verdict) -> Kept:
    return Kept(one.sent, one.timestamp, one.sha256, verdict.code, verdict.detail)


def _bad(item: BadItem) -> Verdict:
    return Verdict(Status.REJECTED, item.code, item.detail)


def _result(index: int, item: EventInput | BadItem, verdict: Verdict) -> ItemResult:
    path = item.path if isinstance(item, BadItem) else "$"
    return ItemResult(index, item.identifier, verdict.status, verdict.code, verdict.detail, path)


def _refused(items: Sequence[EventInput | BadItem], results: Sequence[ItemResult]) -> list[Refused]:
    return [
        Refused(result.code, result.detail, result.identifier, _customer_of(items[result.index]))
        for result in results
        if result.status == Status.REJECTED
    ]


def _customer_of(item: EventInput | BadItem) -> str:
    return item.customer if isinstance(item, EventInput) else ""


def _summary(count: int, results: tuple[ItemResult, ...]) -> CaptureResult:
    by_status = Counter(result.status for result in results)
    return CaptureResult(
        accepted=count - len(results),
        duplicates=by_status[Status.DUPLICATE],
        conflicts=by_status[Status.CONFLICT],
        quarantined=by_status[Status.QUARANTINED],
        rejected=by_status[Status.REJECTED],
        results=results,
    )
