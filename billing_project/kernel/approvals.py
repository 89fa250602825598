"""Propose and decide versions of rules: two people stand behind each.

`propose` is called by the service that makes the version's rows, in its transaction. Each app says
with `content_of` how a version is read back from its rows, so that what governs can be compared
with what was approved; the ground knows no kind of version itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import PolicyChange, PolicyStatus, User

ContentOf = Callable[[PolicyChange], object]
_contents: dict[str, ContentOf] = {}
_ACTIONS = {
    PolicyStatus.APPROVED: "approve_policy_change",
    PolicyStatus.REJECTED: "reject_policy_change",
    PolicyStatus.WITHDRAWN: "withdraw_policy_change",
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


def propose(
    *, kind: str, subject: str, content: object, proposal: Proposal, by: User, at: datetime
) -> PolicyChange:
    """Record a proposed version with the sha256 of its whole content.

    Raises:
        Invalid: a required word is missing, or it expires before it begins; with its `field`.
    """
    _refuse_bad_words(proposal)
    text = canonical_json(content)
    change = PolicyChange.objects.create(
        kind=kind,
        subject=subject,
        title=proposal.title,
        product_requirement=proposal.product_requirement,
        engineering_note=proposal.engineering_note,
        reason_code=proposal.reason_code,
        effective_at=proposal.effective_at,
        expires_at=proposal.expires_at,
        content=text,
        content_sha256=sha256_hex(text),
        proposed_by=by,
        proposed_at=at,
    )
    audit.record(by=by, at=at, action="propose_policy_change", subject=change, kind=kind)
    return change


def _refuse_bad_words(proposal: Proposal) -> None:
    for field in ("title", "product_requirement", "engineering_note", "reason_code"):
        if not getattr(proposal, field).strip():
            raise Invalid(f"a policy change needs its {field.replace('_', ' ')}", field=field)
    if proposal.expires_at is not None and proposal.expires_at <= proposal.effective_at:
        raise Invalid("a policy change expires after it begins", field="expires_at")


def approve(*, change: PolicyChange, by: User, reason: str, at: datetime) -> PolicyChange:
    """Let a proposed version govern from its effective date.

    Raises:
        NotAllowed: `by` proposed it, or lacks the permission.
        Conflict: somebody decided already, or the version's rows are not what was proposed.
    """
    return _decide(change, PolicyStatus.APPROVED, by, reason, at)


def reject(*, change: PolicyChange, by: User, reason: str, at: datetime) -> PolicyChange:
    """Refuse a proposed version for good; a better one is a new proposal."""
    return _decide(change, PolicyStatus.REJECTED, by, reason, at)


@transaction.atomic
def withdraw(*, change: PolicyChange, by: User, reason: str, at: datetime) -> PolicyChange:
    """Take back a proposal that nobody decided yet; only whoever proposed it can.

    Raises:
        NotAllowed: somebody else proposed it.
        Conflict: it was decided already.
    """
    locked = _undecided(change, reason)
    if locked.proposed_by_id != by.pk:
        raise NotAllowed("only the proposer withdraws a proposal")
    return _write_decision(locked, PolicyStatus.WITHDRAWN, by, reason, at)


@transaction.atomic
def _decide(
    change: PolicyChange, status: PolicyStatus, by: User, reason: str, at: datetime
) -> PolicyChange:
    if not by.has_perm("kernel.approve_policychange"):
        raise NotAllowed("only finance approvers decide on policy changes")
    locked = _undecided(change, reason)
    if locked.proposed_by_id == by.pk:
        raise NotAllowed("the proposer cannot decide on their own proposal")
    if status == PolicyStatus.APPROVED and not is_as_proposed(locked):
        raise Conflict("the version's rows are not what was proposed", code="content_changed")
    return _write_decision(locked, status, by, reason, at)


def _undecided(change: PolicyChange, reason: str) -> PolicyChange:
    """Lock a change that is still open."""
    if not reason.strip():
        raise Invalid("a decision needs its reason")
    locked = PolicyChange.objects.select_for_update(no_key=True).get(pk=change.pk)
    if locked.status != PolicyStatus.PROPOSED:
        raise Conflict(f"this change was {locked.status} already")
    return locked


def _write_decision(
    locked: PolicyChange, status: PolicyStatus, by: User, reason: str, at: datetime
) -> PolicyChange:
    locked.status, locked.decided_by, locked.decided_at = status, by, at
    locked.decision_reason = reason
    locked.save(update_fields=["status", "decided_by", "decided_at", "decision_reason"])
    audit.record(by=by, at=at, action=_ACTIONS[status], subject=locked, reason=reason)
    return locked
