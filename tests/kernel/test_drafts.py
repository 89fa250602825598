"""Drafts are edited; what is submitted is not, and what replaces it starts without approvals."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import approvals, drafts, effects, kinds
from billing_project.kernel.approvals import Proposal, approve, propose, waiting_for
from billing_project.kernel.drafts import draft, edit_draft, materialise, revise, submit
from billing_project.kernel.effects import Effect, effect_of
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import (
    ApprovalFunction,
    PolicyApproval,
    PolicyChange,
    PolicyStatus,
    User,
)

pytestmark = pytest.mark.django_db
BOTH = (ApprovalFunction.FINANCE, ApprovalFunction.LEGAL)


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for an app that keeps limits, which finance and legal approve."""
    monkeypatch.setattr(drafts, "_makers", {})
    monkeypatch.setattr(kinds, "_kinds", {})
    monkeypatch.setattr(effects, "_effects", {})
    monkeypatch.setitem(approvals._contents, "limit", lambda change: json.loads(change.content))
    register_kind(Kind("limit", "Limit", needs=BOTH))

    @materialise("limit", {"most": 3, "note": None})
    def _make(content: Mapping[str, Any], proposal: Proposal, by: User, at: datetime) -> None:
        if not isinstance(content.get("most"), int):
            raise Invalid("a limit is a whole number", field="most")
        number = PolicyChange.objects.filter(kind="limit").exclude(subject="").count() + 1
        propose(
            kind="limit", subject=f"limit:x:{number}",
            content={"most": content["most"], "number": number},
            proposal=proposal, by=by, at=at,
        )  # fmt: skip

    @effect_of("limit")
    def _effect(change: PolicyChange) -> Effect:
        return Effect(f"At most {json.loads(change.content)['most']}", (), 2, 3)


def words(at: datetime, title: str = "Limit") -> Proposal:
    return Proposal(title, "Wanted", "Rows only", "risk", at)


def drafted(by: User, at: datetime, most: object = 5) -> PolicyChange:
    return draft(kind="limit", content={"most": most}, proposal=words(at), by=by, at=at)


def test_a_draft_is_edited_and_then_submitted_once(maker: User, at: datetime) -> None:
    change = drafted(maker, at)
    edit_draft(change=change, content={"most": 7}, proposal=words(at, "Seven"), by=maker, at=at)

    submitted = submit(change=change, by=maker, at=at)

    assert submitted.pk == change.pk
    assert (submitted.status, submitted.subject) == (PolicyStatus.SUBMITTED, "limit:x:1")
    assert (submitted.title, submitted.content) == ("Seven", '{"most":7,"number":1}')
    assert submitted.needs == ["finance", "legal"]
    assert submitted.effect is not None
    assert (submitted.effect["basis"], submitted.effect["customers"]) == ("At most 7", 2)
    with pytest.raises(Conflict):
        submit(change=change, by=maker, at=at)
    with pytest.raises(Conflict):
        edit_draft(change=change, content={}, proposal=words(at), by=maker, at=at)


def test_a_draft_belongs_to_its_author_and_waits_for_nobody(
    maker: User, product: User, approver: User, at: datetime
) -> None:
    change = drafted(maker, at)

    with pytest.raises(NotAllowed):
        edit_draft(change=change, content={"most": 1}, proposal=words(at), by=product, at=at)
    with pytest.raises(NotAllowed):
        submit(change=change, by=product, at=at)
    with pytest.raises(Conflict, match="draft"):
        approve(change=change, by=approver, reason="early", at=at)


def test_a_draft_that_is_no_version_stays_a_draft_and_names_the_field(
    maker: User, at: datetime
) -> None:
    change = drafted(maker, at, most="many")

    with pytest.raises(Invalid) as refused:
        submit(change=change, by=maker, at=at)

    assert refused.value.field == "most"
    change.refresh_from_db()
    assert change.status == PolicyStatus.DRAFT


def test_a_kind_that_nobody_makes_is_not_drafted(maker: User, at: datetime) -> None:
    with pytest.raises(Invalid) as refused:
        draft(kind="unicorn", content={}, proposal=words(at), by=maker, at=at)

    assert refused.value.field == "kind"


def test_a_revision_voids_every_approval(
    maker: User, approver: User, lawyer: User, at: datetime
) -> None:
    first = submit(change=drafted(maker, at), by=maker, at=at)
    approve(change=first, by=approver, reason="fine", at=at)

    second = revise(change=first, by=maker, reason="six is better", at=at)
    edit_draft(change=second, content={"most": 6}, proposal=words(at), by=maker, at=at)
    second = submit(change=second, by=maker, at=at)

    first.refresh_from_db()
    assert (first.status, second.replaces) == (PolicyStatus.WITHDRAWN, first)
    assert waiting_for(second) == ["finance", "legal"]
    approve(change=second, by=lawyer, reason="fine", at=at)
    second.refresh_from_db()
    assert second.status == PolicyStatus.SUBMITTED
    with pytest.raises(Conflict):
        approve(change=first, by=lawyer, reason="the old one", at=at)


@pytest.mark.parametrize(
    "edit",
    [
        "content = '{}', content_sha256 = encode(sha256('{}'), 'hex')",
        "title = 'Other'",
        "effective_at = effective_at - interval '1 year'",
        "expires_at = effective_at + interval '1 year'",
        "needs = '[\"finance\"]'",
        "effect = NULL",
        "status = 'draft'",
        "proposed_by_id = decided_by_id",
    ],
)
def test_postgresql_keeps_what_was_submitted(maker: User, at: datetime, edit: str) -> None:
    change = submit(change=drafted(maker, at), by=maker, at=at)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE policy_change SET {edit} WHERE id = %s", [change.pk])


@pytest.mark.parametrize("status", ["approved", "rejected"])
def test_postgresql_decides_on_no_draft(
    maker: User, approver: User, at: datetime, status: str
) -> None:
    change = drafted(maker, at)

    with pytest.raises(DatabaseError), transaction.atomic():
        PolicyChange.objects.filter(pk=change.pk).update(
            status=status, decided_by=approver, decided_at=at + timedelta(hours=1)
        )


def test_an_approval_of_a_draft_is_refused_by_postgresql(
    maker: User, approver: User, at: datetime
) -> None:
    change = drafted(maker, at)

    with pytest.raises(DatabaseError), transaction.atomic():
        PolicyApproval.objects.create(
            change=change, function="finance", by=approver, at=at, sha256="0" * 64, reason="x"
        )


def test_a_name_that_nobody_reads_is_refused_and_nothing_is_submitted(
    maker: User, at: datetime
) -> None:
    said = {"most": 5, "note": "", "number": 9, "custmer": None}
    change = draft(kind="limit", content=said, proposal=words(at), by=maker, at=at)
    assert submit(change=change, by=maker, at=at).status == PolicyStatus.SUBMITTED

    said = {"most": 6, "custmer": "acme"}
    change = draft(kind="limit", content=said, proposal=words(at), by=maker, at=at)
    with pytest.raises(Invalid, match="nobody reads custmer: a version says most, note") as refused:
        submit(change=change, by=maker, at=at)

    assert refused.value.field == "custmer"
    change.refresh_from_db()
    assert (change.status, change.subject) == (PolicyStatus.DRAFT, "")
