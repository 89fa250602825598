"""Write down who did what, to what, and why; in the same transaction as the effect."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Model

from billing_project.kernel.models import AuditEntry, User


def record(
    *, by: User, at: datetime, action: str, subject: Model, reason: str = "", **facts: object
) -> AuditEntry:
    """Append one audit entry.

    Args:
        action: The service's name ("issue_credit_note").
        subject: The object that was made or changed.
        facts: Plain JSON values; ids and amounts, never payloads or secrets.
    """
    return AuditEntry.objects.create(
        at=at,
        by=by,
        action=action,
        subject=f"{subject._meta.model_name}:{subject.pk}",
        reason=reason,
        facts=facts,
    )


def record_each(
    *, by: User, at: datetime, action: str, subjects: Iterable[Model], reason: str = ""
) -> None:
    """Append one audit entry for each of many objects, in one statement."""
    AuditEntry.objects.bulk_create(
        AuditEntry(
            at=at,
            by=by,
            action=action,
            subject=f"{subject._meta.model_name}:{subject.pk}",
            reason=reason,
        )
        for subject in subjects
    )
