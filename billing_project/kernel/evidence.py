"""Attach figures to a proposal while nobody has decided on it: what its approvers then look at.

The ground knows no kind of evidence; a document is a table of text that any app may make.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import PolicyChange, PolicyEvidence, PolicyStatus, User

_OPEN = (PolicyStatus.DRAFT, PolicyStatus.SUBMITTED)
_MOST_ROWS, _MOST_COLUMNS = 500, 30


@dataclass(frozen=True)
class Document:
    """A table of figures, and what they were computed on."""

    title: str
    basis: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept; its title stands beside it."""
        rows = [list(row) for row in self.rows]
        return {"basis": self.basis, "columns": list(self.columns), "rows": rows}


@transaction.atomic
def attach_evidence(
    *, change: PolicyChange, kind: str, document: Document, by: User, at: datetime
) -> PolicyEvidence:
    """Keep a document with a proposal; the same one again is the one that stands.

    Raises:
        NotAllowed: a person who may not propose.
        Conflict: the change is decided already.
        Invalid: a table without rows, too large, or of rows of other lengths than its head.
    """
    if not by.is_service and not by.has_perm("kernel.propose_policychange"):
        raise NotAllowed(f"{by.username} may not propose")
    _refuse_bad_table(document.columns, document.rows)
    locked = PolicyChange.objects.select_for_update(no_key=True).get(pk=change.pk)
    if locked.status not in _OPEN:
        raise Conflict(f"{locked.title} is {locked.status}: evidence comes before a decision")
    said = document.as_json()
    row, is_new = PolicyEvidence.objects.get_or_create(
        change=locked,
        document_sha256=sha256_of(document.title, said),
        defaults={
            "kind": kind, "title": document.title, "document": said, "attached_by": by,
            "attached_at": at, "content_sha256": locked.content_sha256,
        },
    )  # fmt: skip
    if is_new:
        audit.record(by=by, at=at, action="attach_evidence", subject=locked, reason=document.title)
    return row


def sha256_of(title: str, document: dict[str, Any]) -> str:
    """Return the hash that a document is kept under."""
    return sha256_hex(canonical_json({"title": title, **document}))


def _refuse_bad_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not 0 < len(rows) <= _MOST_ROWS or not 0 < len(columns) <= _MOST_COLUMNS:
        raise Invalid(f"a table has 1 to {_MOST_ROWS} rows and to {_MOST_COLUMNS} columns")
    if any(len(row) != len(columns) for row in rows):
        raise Invalid("each row has a figure for each column")
