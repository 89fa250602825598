"""Drafts of policy changes: edited freely, then submitted as rows of their app, once.

Each app says with `materialise` how the content of one kind becomes a version: it calls the same
service that proposes one directly, with the draft in the proposal.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, refuse_bad_words, withdraw
from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.content import is_text
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.kinds import kind_of
from billing_project.kernel.models import PolicyChange, PolicyStatus, User

Materialise = Callable[[Mapping[str, Any], Proposal, User, datetime], object]
_makers: dict[str, Materialise] = {}
_examples: dict[str, Mapping[str, Any]] = {}


def materialise(kind: str, example: Mapping[str, Any]) -> Callable[[Materialise], Materialise]:
    """Register how a draft's content becomes a version of a kind.

    Args:
        example: Content that says everything a version can say: what a person begins with.

    The function takes (content, proposal, by, at) and calls the kind's service, which calls
    `propose` with that proposal. Content is the kind's own form; its `number` is taken anew.

    Raises of the function: Invalid with the `field` at fault for content that is no version.
    """

    def register(function: Materialise) -> Materialise:
        _makers[kind] = function
        _examples[kind] = example
        return function

    return register


def draftable() -> list[str]:
    """List the kinds that can be drafted."""
    return sorted(_makers)


def example_of(kind: str) -> Mapping[str, Any]:
    """Return content as a version of a kind has it; empty for a kind that nobody drafts."""
    return _examples.get(kind, {})


@transaction.atomic
def draft(
    *, kind: str, content: Mapping[str, Any], proposal: Proposal, by: User, at: datetime,
    replaces: PolicyChange | None = None,
) -> PolicyChange:  # fmt: skip
    """Keep a version that is not yet submitted; only its author edits it.

    The same draft again, while it is one, is the draft that stands.

    Raises:
        Invalid: no app makes versions of the kind, or a word is missing; with the `field`.
    """
    if kind not in _makers:
        raise Invalid(f"{kind} is drafted as one of {', '.join(draftable())}", field="kind")
    change = PolicyChange(kind=kind, proposed_by=by, status=PolicyStatus.DRAFT, replaces=replaces)
    change.needs = list(kind_of(kind).needs)
    _fill(change, content, proposal, at)
    if same := _standing(change):
        return same
    change.save()
    audit.record(by=by, at=at, action="draft_policy_change", subject=change, kind=kind)
    return change


@transaction.atomic
def edit_draft(
    *, change: PolicyChange, content: Mapping[str, Any], proposal: Proposal, by: User, at: datetime
) -> PolicyChange:
    """Change a draft's content and words.

    Raises:
        NotAllowed: somebody else's.
        Conflict: it was submitted or withdrawn; `revise` makes a new draft of it.
    """
    locked = _own_draft(change, by)
    _fill(locked, content, proposal, at)
    locked.save()
    audit.record(by=by, at=at, action="edit_policy_change", subject=locked)
    return locked


@transaction.atomic
def submit(*, change: PolicyChange, by: User, at: datetime) -> PolicyChange:
    """Make a draft's version and hand it to its approvers; from here on it never changes.

    Raises:
        NotAllowed: somebody else's.
        Conflict: it is no draft.
        Invalid: its content is no version of its kind, or says what no version says; with the
            `field`.
    """
    locked = _own_draft(change, by)
    words = replace(words_of(locked), draft=locked)
    content = json.loads(locked.content)
    if not isinstance(content, dict):
        raise Invalid("a version's content is named values", field="content")
    _makers[locked.kind](content, words, by, at)
    locked.refresh_from_db()
    assert locked.status == PolicyStatus.SUBMITTED, f"{locked.kind} was not proposed"
    _refuse_unread(locked, content)
    return locked


@transaction.atomic
def revise(*, change: PolicyChange, by: User, reason: str, at: datetime) -> PolicyChange:
    """Withdraw what was submitted, and return a draft of the same content in its place.

    Every approval that it had stays with what was withdrawn; the draft has none.

    Raises:
        NotAllowed: somebody else proposed it.
        Conflict: it was decided already, or is a draft.
        Invalid: versions of its kind are not drafted.
    """
    if change.status == PolicyStatus.DRAFT:
        raise Conflict("a draft is edited as it is")
    withdrawn = withdraw(change=change, by=by, reason=reason, at=at)
    content = json.loads(withdrawn.content)
    content.pop("number", None)
    return draft(
        kind=withdrawn.kind, content=content, proposal=words_of(withdrawn), by=by, at=at,
        replaces=withdrawn,
    )  # fmt: skip


def words_of(change: PolicyChange) -> Proposal:
    """Return the words and dates of a change."""
    return Proposal(
        title=change.title,
        product_requirement=change.product_requirement,
        engineering_note=change.engineering_note,
        reason_code=change.reason_code,
        effective_at=change.effective_at,
        expires_at=change.expires_at,
    )


def _refuse_unread(submitted: PolicyChange, said: Mapping[str, Any]) -> None:
    """Refuse a draft whose version left out what it says: a misspelt name would be lost."""
    known = {*json.loads(submitted.content), *example_of(submitted.kind), "number"}
    if unread := sorted(name for name, value in said.items() if value and name not in known):
        names = ", ".join(sorted(known - {"number"}))
        raise Invalid(f"nobody reads {unread[0]}: a version says {names}", field=unread[0])


def _own_draft(change: PolicyChange, by: User) -> PolicyChange:
    locked = PolicyChange.objects.select_for_update(no_key=True).get(pk=change.pk)
    if locked.proposed_by_id != by.pk:
        raise NotAllowed("only its author edits or submits a draft")
    if locked.status != PolicyStatus.DRAFT:
        raise Conflict(f"this change was {locked.status} already; revise it to change it")
    return locked


def _standing(change: PolicyChange) -> PolicyChange | None:
    """Return the draft of the same author that says the same."""
    return PolicyChange.objects.filter(
        kind=change.kind, proposed_by=change.proposed_by, status=PolicyStatus.DRAFT,
        title=change.title, content_sha256=change.content_sha256, replaces=change.replaces,
    ).first()  # fmt: skip


def _fill(
    change: PolicyChange, content: Mapping[str, Any], proposal: Proposal, at: datetime
) -> None:
    refuse_bad_words(proposal)
    text = canonical_json(content)
    if not is_text(text):
        raise Invalid("content is text: half a character is none", field="content")
    change.title = proposal.title
    change.product_requirement = proposal.product_requirement
    change.engineering_note = proposal.engineering_note
    change.reason_code = proposal.reason_code
    change.effective_at, change.expires_at = proposal.effective_at, proposal.expires_at
    change.content, change.content_sha256 = text, sha256_hex(text)
    change.proposed_at = at
