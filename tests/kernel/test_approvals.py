"""Four eyes: somebody else decides, once, on exactly what was proposed."""

from datetime import datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import approvals, checks
from billing_project.kernel.approvals import (
    Proposal,
    approve,
    content_of,
    propose,
    reject,
    withdraw,
)
from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import PolicyChange, PolicyStatus, User, in_force

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Stand in for an app: return the rows of a version, as they are now."""
    monkeypatch.setattr(approvals, "_contents", {})
    rows = {"rate": "1.5"}
    content_of("rate_card")(lambda change: rows)
    return rows


def _proposed(by: User, at: datetime) -> PolicyChange:
    words = Proposal(
        "Raise the rate", "Supplier price rose", "New version row", "supplier_price", at
    )
    return propose(
        kind="rate_card", subject="rate_card:standard:1", content={"rate": "1.5"},
        proposal=words, by=by, at=at,
    )  # fmt: skip


def test_somebody_else_approves(maker: User, approver: User, at: datetime) -> None:
    change = approve(change=_proposed(maker, at), by=approver, reason="margin holds", at=at)

    assert change.status == PolicyStatus.APPROVED
    assert change.decided_by == approver


def test_the_proposer_cannot_approve_even_with_the_permission(approver: User, at: datetime) -> None:
    change = _proposed(approver, at)

    with pytest.raises(NotAllowed):
        approve(change=change, by=approver, reason="mine", at=at)


def test_a_maker_lacks_the_permission(maker: User, product: User, at: datetime) -> None:
    change = _proposed(product, at)

    with pytest.raises(NotAllowed):
        approve(change=change, by=maker, reason="please", at=at)


def test_only_the_proposer_withdraws_and_only_what_nobody_decided(
    maker: User, approver: User, at: datetime
) -> None:
    change = _proposed(maker, at)

    with pytest.raises(NotAllowed):
        withdraw(change=change, by=approver, reason="not mine", at=at)
    assert withdraw(change=change, by=maker, reason="too early", at=at).status == "withdrawn"
    with pytest.raises(Conflict):
        approve(change=change, by=approver, reason="anyway", at=at)
    assert list(checks.four_eyes()) == []


def test_a_decision_is_made_once(maker: User, approver: User, at: datetime) -> None:
    change = reject(change=_proposed(maker, at), by=approver, reason="too high", at=at)

    with pytest.raises(Conflict):
        approve(change=change, by=approver, reason="on second thought", at=at)


def test_what_is_not_what_was_proposed_is_not_approved(
    maker: User, approver: User, at: datetime, rows: dict[str, str]
) -> None:
    change = _proposed(maker, at)
    rows["rate"] = "0"

    with pytest.raises(Conflict, match="not what was proposed"):
        approve(change=change, by=approver, reason="margin holds", at=at)

    rejected = reject(change=change, by=approver, reason="rows differ", at=at)
    assert rejected.status == PolicyStatus.REJECTED


def test_a_kind_that_no_app_knows_is_not_approved(
    maker: User, approver: User, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "_contents", {})

    with pytest.raises(Conflict, match="not what was proposed"):
        approve(change=_proposed(maker, at), by=approver, reason="margin holds", at=at)


def test_a_version_without_its_rows_is_not_approved(
    maker: User, approver: User, at: datetime
) -> None:
    content_of("rate_card")(lambda change: PolicyChange.objects.get(pk=-1))

    with pytest.raises(Conflict, match="not what was proposed"):
        approve(change=_proposed(maker, at), by=approver, reason="margin holds", at=at)


def test_the_books_tell_when_what_governs_changed_after_its_approval(
    maker: User, approver: User, at: datetime, rows: dict[str, str]
) -> None:
    change = approve(change=_proposed(maker, at), by=approver, reason="margin holds", at=at)
    assert canonical_json(rows) == change.content
    assert not list(checks.versions_stand_as_approved())

    rows["model"] = "large"

    [finding] = checks.versions_stand_as_approved()
    assert finding.subject == f"policy_change:{change.pk}"


def test_a_proposal_without_its_words_is_refused(maker: User, at: datetime) -> None:
    words = Proposal("Title", "  ", "note", "reason", at)

    with pytest.raises(Invalid):
        propose(kind="plan", subject="plan:x:1", content={}, proposal=words, by=maker, at=at)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE policy_change SET content = '{}' WHERE id = %(id)s",
        "UPDATE policy_change SET status = 'approved', decided_by_id = proposed_by_id,"
        " decided_at = now() WHERE id = %(id)s",
        "UPDATE policy_change SET status = 'approved' WHERE id = %(id)s",
        "DELETE FROM policy_change WHERE id = %(id)s",
        "TRUNCATE policy_change CASCADE",
    ],
)
def test_postgresql_refuses_to_forge_a_decision(maker: User, at: datetime, statement: str) -> None:
    change = _proposed(maker, at)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {"id": change.pk})


def test_postgresql_refuses_content_that_differs_from_its_hash(maker: User, at: datetime) -> None:
    change = _proposed(maker, at)
    change.pk, change.subject, change.content = None, "rate_card:standard:2", '{"rate":"9"}'

    with pytest.raises(DatabaseError), transaction.atomic():
        change.save(force_insert=True)


@pytest.mark.parametrize("days", [0, -1])
def test_a_version_that_expires_before_it_begins_names_the_field(
    maker: User, at: datetime, days: int
) -> None:
    words = Proposal("T", "p", "n", "r", at, expires_at=at + timedelta(days=days))

    with pytest.raises(Invalid) as refused:
        propose(kind="plan", subject="plan:x:1", content={}, proposal=words, by=maker, at=at)

    assert refused.value.field == "expires_at"
    assert not PolicyChange.objects.exists()


def test_what_has_not_begun_or_has_expired_is_not_in_force(
    maker: User, approver: User, at: datetime
) -> None:
    words = Proposal("T", "p", "n", "r", at, expires_at=at + timedelta(days=2))
    change = propose(
        kind="rate_card", subject="rate_card:x:1", content={"rate": "1.5"}, proposal=words,
        by=maker, at=at,
    )  # fmt: skip

    assert not PolicyChange.objects.filter(in_force(at)).exists()
    approve(change=change, by=approver, reason="for two days", at=at)

    for hours, stands in ((-1, False), (0, True), (47, True), (48, False)):
        moment = at + timedelta(hours=hours)
        assert PolicyChange.objects.filter(in_force(moment)).exists() is stands
