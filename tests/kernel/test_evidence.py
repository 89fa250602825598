"""Evidence of a proposal: kept as it was, once, while nobody has decided; PostgreSQL holds it."""

import json
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import approvals
from billing_project.kernel.approvals import Proposal, approve, propose
from billing_project.kernel.checks import evidence_stands
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.evidence import Document, attach_evidence
from billing_project.kernel.models import AuditEntry, PolicyChange, PolicyEvidence, User
from tests.invoicing.builders import check_what_is_deferred

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TABLE = Document("Scenarios", "By the rates in force", ("Name", "Margin"), (("low", "850.00"),))
pytestmark = pytest.mark.django_db


@pytest.fixture
def change(maker: User, monkeypatch: pytest.MonkeyPatch) -> PolicyChange:
    monkeypatch.setitem(approvals._contents, "rate", lambda change: json.loads(change.content))
    return propose(
        kind="rate", subject="rate:x:1", content={"open": True},
        proposal=Proposal("Open", "Wanted", "A row", "market", AT), by=maker, at=AT,
    )  # fmt: skip


def attached(change: PolicyChange, by: User, document: Document = TABLE) -> PolicyEvidence:
    return attach_evidence(change=change, kind="scenario", document=document, by=by, at=AT)


def test_a_document_is_kept_once_with_what_the_change_said(
    change: PolicyChange, maker: User
) -> None:
    first, again = attached(change, maker), attached(change, maker)

    assert first == again
    assert first.content_sha256 == change.content_sha256
    assert first.document["rows"] == [["low", "850.00"]]
    assert AuditEntry.objects.filter(action="attach_evidence").count() == 1
    assert list(evidence_stands()) == []


def test_nothing_is_attached_to_what_is_decided(
    change: PolicyChange, maker: User, approver: User
) -> None:
    approve(change=change, by=approver, reason="fits", at=AT)

    with pytest.raises(Conflict):
        attached(change, maker)


def test_only_who_may_propose_attaches(change: PolicyChange, lawyer: User) -> None:
    with pytest.raises(NotAllowed):
        attached(change, lawyer)


@pytest.mark.parametrize("rows", [(), (("low",),)])
def test_a_table_has_rows_of_its_columns(
    change: PolicyChange, maker: User, rows: tuple[tuple[str, ...], ...]
) -> None:
    with pytest.raises(Invalid):
        attached(change, maker, Document("T", "B", ("Name", "Margin"), rows))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE policy_evidence SET title = 'other'",
        "DELETE FROM policy_evidence",
        "TRUNCATE policy_evidence",
    ],
)
def test_postgresql_keeps_it(change: PolicyChange, maker: User, statement: str) -> None:
    attached(change, maker)
    check_what_is_deferred()

    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_the_books_find_another_document(change: PolicyChange, maker: User) -> None:
    row = attached(change, maker)
    check_what_is_deferred()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE policy_evidence DISABLE TRIGGER keep_rows")
        cursor.execute("UPDATE policy_evidence SET document = '{\"rows\": []}'")
        cursor.execute("ALTER TABLE policy_evidence ENABLE ALWAYS TRIGGER keep_rows")

    (finding,) = evidence_stands()
    assert f"evidence {row.pk}" in finding.message
