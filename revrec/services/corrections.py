"""Account for what changes a claim after it was made, in the order in which it happened.

Notes, voids, write-offs and lost disputes catch up what was earned until then, so that comes first
each time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from billing_project.kernel.models import PolicyChange
from invoicing.models import CreditNote
from invoicing.selectors.settlement import given_up_of
from revrec.selectors.facts import (
    unaccounted_allocations,
    unaccounted_bases,
    unaccounted_modifications,
    unaccounted_note_voids,
    unaccounted_notes,
    unaccounted_recoveries,
    unaccounted_verdicts,
    unaccounted_voids,
    unaccounted_write_offs,
)
from revrec.services.allocations import account_allocation
from revrec.services.bases import account_basis
from revrec.services.drafts import Run
from revrec.services.fees import recognise_fees
from revrec.services.grants import account_movements
from revrec.services.modifications import account_modification
from revrec.services.notes import account_note, account_note_void, account_void
from revrec.services.provider import account_verdict
from revrec.services.write_offs import account_reclaim, account_recovery, account_write_off


@dataclass(frozen=True)
class _Step:
    at: datetime
    rank: int  # Of two at one instant: a claim is given up before it is recovered or credited.
    post: Callable[[], int]


def account_corrections(run: Run) -> int:
    """Post each correction that is not in the books yet; return the entries posted."""
    posted = 0
    for step in sorted(_steps(run), key=lambda step: (step.at, step.rank)):
        posted += account_movements(run, until=step.at)
        posted += recognise_fees(run, before=run.day_of(step.at))
        posted += step.post()
    return posted


def _steps(run: Run) -> list[_Step]:
    key = run.customer_id
    return [
        *(_step_of_note(run, note) for note in unaccounted_notes(key)),
        *(
            _Step(v.voided_at, 1, lambda v=v: account_note_void(run, v))  # type: ignore[misc]
            for v in unaccounted_note_voids(key)
        ),
        *(_Step(v.voided_at, 1, lambda v=v: account_void(run, v)) for v in unaccounted_voids(key)),  # type: ignore[misc]
        *(
            _Step(w.written_off_at, 2, lambda w=w: account_write_off(run, w))  # type: ignore[misc]
            for w in unaccounted_write_offs(key)
        ),
        *(
            _Step(p.recorded_at, 3, lambda p=p: account_recovery(run, p))  # type: ignore[misc]
            for p in unaccounted_recoveries(key)
        ),
        *(
            _Step(_settled(b.policy_change), 5, lambda b=b: account_basis(run, b))  # type: ignore[misc]
            for b in unaccounted_bases(run.at, key)
        ),
        *(
            _Step(_settled(a.policy_change), 5, lambda a=a: account_allocation(run, a))  # type: ignore[misc]
            for a in unaccounted_allocations(run.at, key)
        ),
        *(
            _Step(_settled(m.policy_change), 5, lambda m=m: account_modification(run, m))  # type: ignore[misc]
            for m in unaccounted_modifications(run.at, key)
        ),
        *(
            _Step(d.decided_at, 4, lambda d=d: account_verdict(run, d))  # type: ignore[misc]
            for d in unaccounted_verdicts(key)
        ),
    ]


def _settled(change: PolicyChange) -> datetime:
    """Return from when on an approved act is in the books: once it is both approved and due."""
    return max(change.effective_at, change.decided_at or change.effective_at)


def _step_of_note(run: Run, note: CreditNote) -> _Step:
    """Post a note; one on what was written off comes after the write-off."""
    if not given_up_of(note):
        return _Step(note.issued_at, 0, lambda: account_note(run, note))
    return _Step(note.issued_at, 3, lambda: account_reclaim(run, note) + account_note(run, note))
