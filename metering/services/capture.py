"""Take in events: each is stored once, kept in quarantine, or refused; none is lost silently.

One transaction for a batch: identities, events, quarantine and counters appear together, and the
answer is given after the commit. Locks are taken in one order: workspaces, identities,
quarantine, rejections; each sorted by its key.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
from django.conf import settings
from django.db import connection, transaction

from billing_project.kernel.period import Period
from metering.content import content_sha256
from metering.events import BadItem, EventInput
from metering.exact import to_json
from metering.judging import (
    Screen,
    Status,
    TimeWindow,
    Verdict,
    is_plain,
    judge,
    judge_archived,
    judge_late,
)
from metering.models.event import QuarantineState
from metering.selectors.archive import archived_since
from metering.selectors.customers import customer_ids
from metering.selectors.late import late_quarantine
from metering.selectors.screens import current_screens
from metering.selectors.standing import Standing, standing
from metering.services.keeping import (
    Kept,
    Refused,
    count_rejections,
    dismissed_verdicts,
    keep_in_quarantine,
    kept_verdicts,
)
from metering.services.retrying import CAUTION, ClaimedMeanwhile, atomic_with_retries
from metering.services.storing import (
    Key,
    NewEvent,
    ensure_workspaces,
    is_month_known,
    store_events,
    stored_hashes,
)
from metering.services.superseding import supersede_quarantined

ASK_FEW = 100  # Asking about fewer costs less than a savepoint.
_DUPLICATE = Verdict(Status.DUPLICATE, "duplicate", "was stored before with the same content")
_CONFLICT = Verdict(
    Status.CONFLICT,
    "identifier_conflict",
    "was stored before with other content, which stands; this report is kept for a decision",
)


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


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A readable event on its way.

    `sent` is what the sender wrote, `timestamp` when it counts as used; a replay brings its own.
    """

    index: int
    sent: EventInput
    timestamp: datetime
    sha256: bytes
    properties: bytes  # As JSON.
    key: Key | None  # None where the customer is unknown.


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
    now = standing(at)
    dismissed = _dismissed(candidates) if now.was_dismissed else {}
    verdicts.update(settle_candidates(candidates, now, window, at, dismissed))
    verdicts.update(_known_verdicts(candidates, verdicts))
    is_kept = _keep(candidates, verdicts, at)
    if is_kept or now.waits_for_better:
        supersede_quarantined(_stored_names(candidates, verdicts), at)
    results = tuple(_result(i, items[i], verdicts[i]) for i in sorted(verdicts))
    count_rejections(sender, _refused(items, results), at)
    return _summary(len(items), results)


def settle_candidates(
    candidates: Sequence[Candidate],
    now: Standing,
    window: TimeWindow | None,
    at: datetime,
    dismissed: Mapping[int, Verdict] | None = None,
) -> dict[int, Verdict]:
    """Store what can be stored and say why for the rest, by index.

    What was stored before is found first: its retry is a duplicate for ever. Of several reports
    under one identifier the first that can be stored is, in the sender's order.

    Args:
        dismissed: Verdicts of what somebody dismissed: it is not stored, however good it is by now.
    """
    reasons = {**_reasons(candidates, now, window, at), **(dismissed or {})}
    if not reasons and _store_all(candidates, at):
        return {}
    known = stored_hashes({one.key for one in candidates if one.key is not None})
    chosen: dict[Key, Candidate] = {}
    verdicts: dict[int, Verdict] = {}
    for one in candidates:
        key = one.key
        if key is not None and (before := known.get(key)) is not None:
            verdicts[one.index] = _DUPLICATE if before == one.sha256 else _CONFLICT
        elif key is not None and (first := chosen.get(key)) is not None:
            verdicts[one.index] = _DUPLICATE if first.sha256 == one.sha256 else _CONFLICT
        elif reason := reasons.get(one.index):
            verdicts[one.index] = reason
        elif key is not None:
            chosen[key] = one
    store_events(_new_events(list(chosen.values()), at), at)
    return verdicts


def _store_all(candidates: Sequence[Candidate], at: datetime) -> bool:
    """Store a batch that looks all new without asking first; return whether it was."""
    is_worth_it = len(candidates) >= ASK_FEW
    if not is_worth_it or len({one.key for one in candidates}) < len(candidates):
        return False
    if CAUTION.is_due:
        CAUTION.spend()
        return False
    # Alone, the transaction is repeated whole; inside another one it goes back to here.
    is_inside = bool(connection.savepoint_ids)
    try:
        with transaction.atomic(savepoint=is_inside):
            store_events(_new_events(candidates, at), at)
    except ClaimedMeanwhile:
        if not is_inside:
            raise
        return False
    return True


def _candidates(events: Sequence[tuple[int, EventInput]], at: datetime) -> list[Candidate]:
    ids = customer_ids({event.customer for _, event in events})
    found = []
    for i, event in events:
        customer_id = ids.get(event.customer)
        key = None if customer_id is None else (customer_id, event.identifier)
        properties = to_json(event.properties)
        sha256 = content_sha256(event, properties)
        found.append(Candidate(i, event, event.timestamp or at, sha256, properties, key))
    return found


def _dismissed(candidates: Sequence[Candidate]) -> dict[int, Verdict]:
    return dismissed_verdicts(
        [(one.index, one.sent.customer, one.sent.identifier, one.sha256) for one in candidates]
    )


def _reasons(
    candidates: Sequence[Candidate], now: Standing, window: TimeWindow | None, at: datetime
) -> dict[int, Verdict]:
    """Say why events could not be stored even if nobody stored them before, by index."""
    screens = current_screens(now)
    # A replay is somebody's decision: it has no window and is never late.
    closed: Mapping[int, tuple[Period, ...]] = {}
    if window and now.keeps_late_events:
        closed = late_quarantine({one.key[0] for one in candidates if one.key}, at)
    archived = _archived(candidates, at)
    is_usual = not (closed or archived)
    reasons = {}
    for one in candidates:
        if is_usual and one.key and is_plain(one.sent, one.timestamp, screens, window):
            continue
        if reason := _reason(one, screens, window, closed, archived):
            reasons[one.index] = reason
    return reasons


def _archived(candidates: Sequence[Candidate], at: datetime) -> list[Period]:
    """Return the archived months that the events may lie in; asks nothing about recent use.

    A clock that was set back makes an archived month recent: its partition is not known then.
    """
    oldest = min((one.timestamp for one in candidates), default=at)
    return archived_since(oldest, at if is_month_known(oldest) else None)


def _reason(
    one: Candidate,
    screens: Mapping[str, Screen],
    window: TimeWindow | None,
    closed: Mapping[int, tuple[Period, ...]],
    archived: Sequence[Period],
) -> Verdict | None:
    if archived and (verdict := judge_archived(one.timestamp, archived)):
        return verdict
    verdict = judge(
        one.sent,
        used_at=one.timestamp,
        is_customer_known=one.key is not None,
        screens=screens,
        window=window,
    )
    if verdict is None and one.key is not None:
        return judge_late(one.timestamp, closed.get(one.key[0], ()))
    return verdict


def _new_events(candidates: Sequence[Candidate], at: datetime) -> list[NewEvent]:
    """Bring candidates whose customers are known to the form that is stored."""
    named = [
        (one.key[0], one.sent.workspace) for one in candidates if one.key and one.sent.workspace
    ]
    workspaces = ensure_workspaces(named, at)
    return [
        NewEvent(
            one.key[0],
            one.key[1],
            workspaces.get((one.key[0], one.sent.workspace)) if workspaces else None,
            one.sent.event_name,
            one.timestamp,
            one.sha256,
            one.properties,
        )
        for one in candidates
        if one.key is not None
    ]


def _known_verdicts(
    candidates: Sequence[Candidate], verdicts: Mapping[int, Verdict]
) -> dict[int, Verdict]:
    """Judge anew what is a repeat of a report that was kept: waiting, or decided on since."""
    asked = {
        one.index: _kept(one, verdict)
        for one in candidates
        if (verdict := verdicts.get(one.index)) and _may_be_kept(verdict)
    }
    known = kept_verdicts(asked)
    return {n: told for n, told in known.items() if _is_news(verdicts[n], told)}


def _may_be_kept(verdict: Verdict) -> bool:
    is_kept = verdict.status in (Status.QUARANTINED, Status.CONFLICT)
    return is_kept or verdict.code.startswith("timestamp_")


def _is_news(judged: Verdict, known: Verdict) -> bool:
    """Tell whether what became of the first report is the answer to its repeat.

    Another content than the stored event's stays a conflict, unless it was made that event's.
    """
    if judged.status == Status.CONFLICT:
        return known.code == QuarantineState.AMENDED
    return judged.status == Status.REJECTED or known.status == Status.DUPLICATE


def _keep(candidates: Sequence[Candidate], verdicts: Mapping[int, Verdict], at: datetime) -> bool:
    """Quarantine what has to wait; return whether anything does."""
    kept = (Status.QUARANTINED, Status.CONFLICT)
    rows = [
        _kept(one, verdicts[one.index])
        for one in candidates
        if one.index in verdicts and verdicts[one.index].status in kept
    ]
    keep_in_quarantine(rows, at)
    return bool(rows)


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
