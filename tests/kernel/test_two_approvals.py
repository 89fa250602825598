"""Two people of two functions approve, once, and PostgreSQL holds it against code and SQL."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import DatabaseError, connection

from billing_project.kernel import approvals, checks, kinds
from billing_project.kernel.approvals import Proposal, approve, holds, propose, reject, waiting_for
from billing_project.kernel.errors import BillingError, Conflict, NotAllowed
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import (
    ApprovalFunction,
    PolicyApproval,
    PolicyChange,
    PolicyStatus,
    User,
)
from billing_project.kernel.signing import digest_of
from tests.faults.rig import at_once

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BOTH = (ApprovalFunction.FINANCE, ApprovalFunction.LEGAL)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for an app with a kind that finance and legal approve."""
    monkeypatch.setattr(kinds, "_kinds", {})
    monkeypatch.setitem(approvals._contents, "gate", lambda change: json.loads(change.content))
    monkeypatch.setitem(approvals._contents, "rate", lambda change: json.loads(change.content))
    register_kind(Kind("gate", "Gate", needs=BOTH))


def proposed(by: User, kind: str = "gate") -> PolicyChange:
    return propose(
        kind=kind, subject=f"{kind}:x:1", content={"open": True},
        proposal=Proposal("Open", "Wanted", "A row", "market", AT), by=by, at=AT,
    )  # fmt: skip


def test_finance_and_legal_approve_in_either_order(
    maker: User, approver: User, lawyer: User
) -> None:
    change = proposed(maker)

    first = approve(change=change, by=lawyer, reason="lawful", at=AT)
    assert (first.status, waiting_for(first)) == (PolicyStatus.SUBMITTED, ["finance"])
    second = approve(change=change, by=approver, reason="pays", at=AT)

    assert (second.status, second.decided_by) == (PolicyStatus.APPROVED, approver)
    signed = set(change.approvals.values_list("function", "by__username", "sha256"))
    assert signed == {
        ("legal", "lea.legal", digest_of(change)),
        ("finance", "ann.approver", digest_of(change)),
    }


def test_one_person_of_both_functions_is_one_person(approver: User, maker: User) -> None:
    approver.groups.add(Group.objects.get(name="legal"))
    change = approve(change=proposed(maker), by=approver, reason="fine", at=AT)

    with pytest.raises(Conflict, match="somebody else"):
        approve(change=change, by=approver, reason="fine as well", at=AT)

    assert waiting_for(change) == ["legal"]


def test_a_function_that_is_not_asked_does_not_decide(maker: User, lawyer: User) -> None:
    change = proposed(maker, "rate")

    for decide in (approve, reject):
        with pytest.raises(NotAllowed):
            decide(change=change, by=lawyer, reason="no business of mine", at=AT)


def test_legal_alone_rejects_what_finance_approved(
    maker: User, approver: User, lawyer: User
) -> None:
    change = approve(change=proposed(maker), by=approver, reason="pays", at=AT)

    assert reject(change=change, by=lawyer, reason="unlawful", at=AT).status == "rejected"


def test_neither_a_superuser_nor_a_personal_permission_nor_who_left_is_a_function(
    maker: User, approver: User
) -> None:
    root = User.objects.create_superuser("root")
    friend = User.objects.create_user("friend")
    friend.user_permissions.add(Permission.objects.get(codename="approve_policychange"))
    approver.is_active = False
    approver.save()
    change = proposed(maker, "rate")

    for person in (root, friend, approver):
        assert not holds(person, "finance")
        with pytest.raises(NotAllowed):
            approve(change=change, by=person, reason="I may", at=AT)
        with pytest.raises(DatabaseError, match="does not approve"):
            sign(change, person)


def test_an_approval_lapses_with_the_function_of_who_gave_it(
    maker: User, approver: User, lawyer: User
) -> None:
    change = approve(change=proposed(maker), by=approver, reason="pays", at=AT)
    approver.groups.clear()

    with pytest.raises(Conflict, match=r"ann.approver approved for finance and does not any more"):
        approve(change=change, by=lawyer, reason="lawful", at=AT)
    sign(change, lawyer, "legal")
    with pytest.raises(DatabaseError, match="lacks an approval"):
        PolicyChange.objects.filter(pk=change.pk).update(
            status="approved", decided_by=lawyer, decided_at=AT
        )


def sign(change: PolicyChange, by: User, function: str = "finance", sha256: str = "") -> None:
    """Insert an approval behind the service's back."""
    PolicyApproval.objects.create(
        change=change, function=function, by=by, at=AT, reason="x",
        sha256=sha256 or digest_of(change),
    )  # fmt: skip


def decide(change: PolicyChange, by: User, status: str = "approved") -> None:
    """Set a decision behind the service's back."""
    PolicyChange.objects.filter(pk=change.pk).update(status=status, decided_by=by, decided_at=AT)


def test_the_orm_approves_nothing_that_lacks_an_approval(
    maker: User, approver: User, lawyer: User
) -> None:
    change = proposed(maker)

    with pytest.raises(DatabaseError, match="lacks an approval"):
        decide(change, approver)
    sign(change, approver)
    for person in (approver, lawyer):
        with pytest.raises(DatabaseError, match="lacks an approval"):
            decide(change, person)
    with pytest.raises(DatabaseError):
        decide(change, maker)

    change.refresh_from_db()
    assert change.status == PolicyStatus.SUBMITTED


@pytest.mark.parametrize(
    ("who", "function", "sha256"),
    [
        ("ann.approver", "legal", ""),
        ("ann.approver", "finance", "0" * 64),
        ("ann.approver", "product", ""),
        ("mia.maker", "finance", ""),
        ("lea.legal", "finance", ""),
    ],
)
def test_postgresql_refuses_a_false_signature(
    maker: User, approver: User, lawyer: User, who: str, function: str, sha256: str
) -> None:
    maker.groups.add(Group.objects.get(name="finance_approver"))
    change = proposed(maker)

    with pytest.raises(DatabaseError):
        sign(change, User.objects.get(username=who), function, sha256)

    assert not change.approvals.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE policy_approval SET reason = 'other'",
        "DELETE FROM policy_approval",
        "TRUNCATE policy_approval CASCADE",
    ],
)
def test_an_approval_stays(maker: User, approver: User, statement: str) -> None:
    approve(change=proposed(maker), by=approver, reason="pays", at=AT)

    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize("needs", [[], ["legal"], ["finance", "product"], "finance", {}])
def test_postgresql_refuses_a_change_that_finance_does_not_approve(
    maker: User, needs: object
) -> None:
    change = proposed(maker)
    change.pk, change.subject, change.needs = None, "gate:x:2", needs

    with pytest.raises(DatabaseError):
        change.save(force_insert=True)


def test_postgresql_lets_no_change_begin_approved_nor_stored_value_without_legal(
    maker: User, approver: User
) -> None:
    change = proposed(maker, "rate")
    change.pk, change.subject = None, "rate:x:2"
    change.status, change.decided_by, change.decided_at = "approved", approver, AT
    with pytest.raises(DatabaseError, match="begins undecided"):
        change.save(force_insert=True)

    change.status, change.decided_by, change.decided_at = "submitted", None, None
    change.kind = "stored_value"
    with pytest.raises(DatabaseError, match="stored_value_needs_legal"):
        change.save(force_insert=True)


def test_the_books_find_a_decision_whose_approvals_are_gone(maker: User, approver: User) -> None:
    change = approve(change=proposed(maker, "rate"), by=approver, reason="pays", at=AT)
    assert list(checks.approvals_complete()) == []

    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE policy_approval DISABLE TRIGGER keep_rows")
        cursor.execute("UPDATE policy_approval SET sha256 = repeat('0', 64)")
        cursor.execute("ALTER TABLE policy_approval ENABLE ALWAYS TRIGGER keep_rows")

    [finding] = checks.approvals_complete()
    assert finding.subject == f"policy_change:{change.pk}"


@pytest.fixture
def gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass between reading that a change is open and signing it."""
    read = approvals.is_as_proposed

    def slowly(change: PolicyChange) -> bool:
        time.sleep(0.5)
        return read(change)

    monkeypatch.setattr(approvals, "is_as_proposed", slowly)


def _race(change: PolicyChange, *people: User) -> list[str]:
    def attempt(person: User) -> Callable[[], str]:
        def run() -> str:
            try:
                return str(approve(change=change, by=person, reason="fine", at=AT).status)
            except (BillingError, DatabaseError) as error:
                return type(error).__name__

        return run

    return sorted(at_once([attempt(person) for person in people], is_connected=True))


def _second(name: str) -> User:
    user = User.objects.create_user(name)
    user.groups.add(Group.objects.get(name="finance_approver"))
    return user


def test_two_approvers_of_one_function_decide_once(maker: User, approver: User, gap: None) -> None:
    change = proposed(maker, "rate")

    assert _race(change, approver, _second("bob.approver")) == ["Conflict", "approved"]
    assert change.approvals.count() == 1


def test_finance_and_legal_at_once_leave_it_approved(
    maker: User, approver: User, lawyer: User, gap: None
) -> None:
    change = proposed(maker)

    assert _race(change, approver, lawyer) == ["approved", "submitted"]
    change.refresh_from_db()
    assert change.status == PolicyStatus.APPROVED


def test_canary_without_the_lock_both_believe_it_is_open(
    maker: User, approver: User, gap: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = proposed(maker, "rate")
    monkeypatch.setattr(
        approvals, "_undecided", lambda change, *rest: PolicyChange.objects.get(pk=change.pk)
    )

    # Only the database is left to refuse the second: no service saw that it was decided.
    [first, second] = _race(change, approver, _second("bob.approver"))

    assert "Conflict" not in (first, second)
    assert "Error" in first
    assert second == "approved"
