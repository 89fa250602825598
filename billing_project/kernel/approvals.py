"""Propose and decide versions of rules: two people stand behind each.

`propose` is called by the service that makes the version's rows, in its transaction. Each app says
with `content_of` how a version is read back from its rows, so that what governs can be compared
with what was approved; the ground knows no kind of version itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import Model

from billing_project.kernel import audit
from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.effects import document_of, simulate
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.kinds import kind_of
from billing_project.kernel.models import (
    ApprovalFunction,
    PolicyApproval,
    PolicyChange,
    PolicyStatus,
    User,
)
from billing_project.kernel.signing import digest_of

ContentOf = Callable[[PolicyChange], object]
Version = TypeVar("Version", bound=Model)
_contents: dict[str, ContentOf] = {}
_ACTIONS = {
    PolicyStatus.REJECTED: "reject_policy_change",
    PolicyStatus.WITHDRAWN: "withdraw_policy_change",
}

_PERMISSIONS = {
    ApprovalFunction.FINANCE: "approve_policychange",
    ApprovalFunction.LEGAL: "approve_policychange_legal",
}


@dataclass(frozen=True)
class Proposal:
    """Why a version is wanted: the words that an auditor reads later."""

    title: str
    product_requirement: str
    engineering_note: str
    reason_code: str
    effective_at: datetime
    expires_at: datetime | None = None
    draft: PolicyChange | None = None  # What becomes the change; None makes a new one.


def content_of(kind: str) -> Callable[[ContentOf], ContentOf]:
    """Register how the whole content of one kind of version is built from its rows."""

    def register(function: ContentOf) -> ContentOf:
        _contents[kind] = function
        return function

    return register


def is_as_proposed(change: PolicyChange) -> bool:
    """Tell whether a version's rows are the content that was proposed, to the last character.

    A kind that no app registered, or a version without its rows, is not.
    """
    read = _contents.get(change.kind)
    if read is None:
        return False
    try:
        content = read(change)
    except ObjectDoesNotExist:
        return False
    return sha256_hex(canonical_json(content)) == change.content_sha256


@transaction.atomic
def propose(
    *, kind: str, subject: str, content: object, proposal: Proposal, by: User, at: datetime
) -> PolicyChange:
    """Submit a version for approval, with the sha256 of its whole content and its effect.

    From here on it never changes. With `proposal.draft` that draft becomes the change.

    Raises:
        Invalid: a required word is missing, or it expires before it begins; with its `field`.
        Conflict: the draft is no longer one, or of another kind or person.
    """
    refuse_bad_words(proposal)
    text = canonical_json(content)
    change = _opened(kind, proposal, by)
    change.subject, change.title = subject, proposal.title
    change.product_requirement = proposal.product_requirement
    change.engineering_note = proposal.engineering_note
    change.reason_code = proposal.reason_code
    change.effective_at, change.expires_at = proposal.effective_at, proposal.expires_at
    change.content, change.content_sha256 = text, sha256_hex(text)
    change.needs = list(kind_of(kind).needs)
    change.status, change.proposed_at = PolicyStatus.SUBMITTED, at
    effect = simulate(change)
    change.effect = document_of(effect, at) if effect else None
    change.save()
    audit.record(by=by, at=at, action="propose_policy_change", subject=change, kind=kind)
    return change


def propose_version(
    version: Version, *, kind: str, subject: str, content: object, proposal: Proposal, by: User,
    at: datetime,
) -> Version:  # fmt: skip
    """Submit a version for approval, and write the row that says it.

    Args:
        version: A new row with a `policy_change`, which `content` says in full.

    Raises: as `propose`.
    """
    version.policy_change = propose(  # type: ignore[attr-defined]
        kind=kind, subject=subject, content=content, proposal=proposal, by=by, at=at
    )
    version.save(force_insert=True)
    return version


def _opened(kind: str, proposal: Proposal, by: User) -> PolicyChange:
    """Return a new change, or the draft that becomes it, locked."""
    if proposal.draft is None:
        return PolicyChange(kind=kind, proposed_by=by)
    draft = PolicyChange.objects.select_for_update(no_key=True).get(pk=proposal.draft.pk)
    if draft.status != PolicyStatus.DRAFT:
        raise Conflict(f"this change was {draft.status} already")
    if (draft.kind, draft.proposed_by_id) != (kind, by.pk):
        raise Conflict("a draft is submitted by its author, as the kind that it is")
    return draft


def refuse_bad_words(proposal: Proposal) -> None:
    for field in ("title", "product_requirement", "engineering_note", "reason_code"):
        if not getattr(proposal, field).strip():
            raise Invalid(f"a policy change needs its {field.replace('_', ' ')}", field=field)
    if proposal.expires_at is not None and proposal.expires_at <= proposal.effective_at:
        raise Invalid("a policy change expires after it begins", field="expires_at")


def holds(person: User, function: str) -> bool:
    """Tell whether an active person has a function through one of their groups.

    PostgreSQL asks the same (`policy_holds`): being a superuser is no function.
    """
    codename = _PERMISSIONS[ApprovalFunction(function)]
    return (
        person.is_active
        and person.groups.filter(
            permissions__codename=codename, permissions__content_type__app_label="kernel"
        ).exists()
    )


def waiting_for(change: PolicyChange) -> list[str]:
    """List the functions that have not approved a change yet."""
    given = set(change.approvals.values_list("function", flat=True))
    return [function for function in change.needs if function not in given]


@transaction.atomic
def approve(*, change: PolicyChange, by: User, reason: str, at: datetime) -> PolicyChange:
    """Approve a submitted version for one's function; the last one needed lets it govern.

    Whoever has two of the functions approves for the first that waits, and never for both.

    Raises:
        NotAllowed: `by` proposed it, or has none of the functions that approve it.
        Conflict: somebody decided already, `by` approved already, who approved before holds the
            function no more, the version's rows are not what was submitted, or it is too late.
    """
    locked = _undecided(change, reason)
    function = _function(locked, by)
    if not is_as_proposed(locked):
        raise Conflict("the version's rows are not what was proposed", code="content_changed")
    PolicyApproval.objects.create(
        change=locked, function=function, by=by, at=at, sha256=digest_of(locked), reason=reason
    )
    audit.record(
        by=by, at=at, action="approve_policy_change", subject=locked, reason=reason,
        function=function,
    )  # fmt: skip
    if waiting_for(locked):
        return locked
    _refuse_lapsed(locked)
    obstacle = kind_of(locked.kind).obstacle
    if obstacle and (said := obstacle()):
        raise Conflict(said, code="too_late")
    return _write_decision(locked, PolicyStatus.APPROVED, by, reason, at)


@transaction.atomic
def reject(*, change: PolicyChange, by: User, reason: str, at: datetime) -> PolicyChange:
    """Refuse a submitted version for good; a better one is a new proposal.

    Any one of the functions that approve it can.

    Raises:
        NotAllowed: `by` proposed it, or has none of those functions.
        Conflict: somebody decided already.
    """
    locked = _undecided(change, reason)
    _refuse_others(locked, by)
    _write_decision(locked, PolicyStatus.REJECTED, by, reason, at)
    return _recorded(locked, by, reason, at)


@transaction.atomic
def withdraw(*, change: PolicyChange, by: User, reason: str, at: datetime) -> PolicyChange:
    """Take back a draft, or what nobody decided yet; only whoever proposed it can.

    Raises:
        NotAllowed: somebody else proposed it.
        Conflict: it was decided already.
    """
    locked = _undecided(change, reason, PolicyStatus.DRAFT, PolicyStatus.SUBMITTED)
    if locked.proposed_by_id != by.pk:
        raise NotAllowed("only the proposer withdraws a proposal")
    _write_decision(locked, PolicyStatus.WITHDRAWN, by, reason, at)
    return _recorded(locked, by, reason, at)


def _undecided(change: PolicyChange, reason: str, *states: PolicyStatus) -> PolicyChange:
    """Lock a change that is still open."""
    if not reason.strip():
        raise Invalid("a decision needs its reason", field="reason")
    locked = PolicyChange.objects.select_for_update(no_key=True).get(pk=change.pk)
    if locked.status not in (states or (PolicyStatus.SUBMITTED,)):
        was = (
            "is a draft" if locked.status == PolicyStatus.DRAFT else f"was {locked.status} already"
        )
        raise Conflict(f"this change {was}")
    return locked


def _function(change: PolicyChange, by: User) -> str:
    """Return the function that a person approves a change for."""
    held = _refuse_others(change, by)
    if change.approvals.filter(by=by).exists():
        raise Conflict("you approved this change already; somebody else approves it as well")
    waiting = waiting_for(change)
    for function in held:
        if function in waiting:
            return function
    raise Conflict(f"this change waits for {' and '.join(waiting)} only")


def _refuse_lapsed(change: PolicyChange) -> None:
    """Refuse what PostgreSQL would refuse: who approved before must hold the function still."""
    for row in change.approvals.select_related("by"):
        if not holds(row.by, row.function):
            raise Conflict(
                f"{row.by} approved for {row.function} and does not any more: whoever proposed this"
                " withdraws it, and proposes it again",
                code="approval_lapsed",
            )


def _refuse_others(change: PolicyChange, by: User) -> list[str]:
    """Return the functions of a change that a person has; refuse who has none, or proposed it."""
    held = [function for function in change.needs if holds(by, function)]
    if not held:
        raise NotAllowed(f"only {' and '.join(change.needs)} approvers decide on this change")
    if change.proposed_by_id == by.pk:
        raise NotAllowed("the proposer cannot decide on their own proposal")
    return held


def _write_decision(
    locked: PolicyChange, status: PolicyStatus, by: User, reason: str, at: datetime
) -> PolicyChange:
    locked.status, locked.decided_by, locked.decided_at = status, by, at
    locked.decision_reason = reason
    locked.save(update_fields=["status", "decided_by", "decided_at", "decision_reason"])
    return locked


def _recorded(locked: PolicyChange, by: User, reason: str, at: datetime) -> PolicyChange:
    action = _ACTIONS[PolicyStatus(locked.status)]
    audit.record(by=by, at=at, action=action, subject=locked, reason=reason)
    return locked
