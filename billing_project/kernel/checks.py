"""Checks of the books that the ground answers for: guards stand, commits are durable."""

import re
from collections.abc import Iterator

from django.db import connection
from django.db.migrations import RunSQL
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from billing_project.kernel.approvals import is_as_proposed
from billing_project.kernel.books import Finding, check
from billing_project.kernel.models import PolicyChange, PolicyStatus
from billing_project.kernel.signing import digest_of

_TRIGGER = re.compile(r"CREATE (?:CONSTRAINT )?TRIGGER (\w+)[^;]*?\bON (\w+)", re.IGNORECASE)


@check("Every guard of the database stands and fires always")
def guards_stand() -> Iterator[Finding]:
    """Compare the triggers that migrations made with those that stand."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, t.tgname, t.tgenabled FROM pg_trigger t"
            " JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal"
        )
        standing = {(table, trigger): enabled for table, trigger, enabled in cursor.fetchall()}
    for table, trigger in sorted(_expected_guards()):
        state = standing.get((table, trigger))
        if state is None:
            yield Finding(f"table:{table}", f"guard {trigger} is gone")
    for (table, trigger), state in sorted(standing.items()):
        if state != "A":
            yield Finding(f"table:{table}", f"guard {trigger} can be switched off (state {state})")


@check("A commit that was acknowledged is on disk")
def commits_are_durable() -> Iterator[Finding]:
    """Look at the settings without which an acknowledged event could be lost."""
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW {setting}")
            value = cursor.fetchone()[0]
        if value == "off":
            yield Finding(f"setting:{setting}", "is off: acknowledged events can be lost")


@check("Every decision on a policy was made by somebody else than its proposer")
def four_eyes() -> Iterator[Finding]:
    """Find decisions that the database should have refused."""
    decided = PolicyChange.objects.exclude(decided_by=None)
    for change in decided.exclude(status=PolicyStatus.WITHDRAWN).iterator():
        if change.decided_by_id == change.proposed_by_id:
            yield Finding(f"policy_change:{change.pk}", "was decided by its proposer")


@check("Every approved change has the approvals that it needs, by as many people")
def approvals_complete() -> Iterator[Finding]:
    """Find approved changes whose approvals are missing, or signed something else."""
    approved = PolicyChange.objects.filter(status=PolicyStatus.APPROVED)
    for change in approved.prefetch_related("approvals").iterator(chunk_size=500):
        signed = digest_of(change)
        rows = [
            row
            for row in change.approvals.all()
            if row.sha256 == signed and row.by_id != change.proposed_by_id
        ]
        functions, people = {row.function for row in rows}, {row.by_id for row in rows}
        if not functions.issuperset(change.needs) or len(people) < len(change.needs):
            yield Finding(f"policy_change:{change.pk}", "lacks an approval of what it is")


@check("What governs is what was approved")
def versions_stand_as_approved() -> Iterator[Finding]:
    """Build each approved version from its rows again and compare it with what was signed."""
    for change in PolicyChange.objects.filter(status=PolicyStatus.APPROVED).iterator():
        if not is_as_proposed(change):
            yield Finding(f"policy_change:{change.pk}", f"{change.subject} is not as approved")


def _expected_guards() -> set[tuple[str, str]]:
    loader = MigrationLoader(None)
    return {
        (table, trigger)
        for migration in loader.disk_migrations.values()
        for operation in migration.operations
        for text in _statements(operation)
        for trigger, table in _TRIGGER.findall(text)
    }


def _statements(operation: Operation) -> Iterator[str]:
    """Yield what a migration's operation runs; guards inside function bodies come per partition."""
    inner = getattr(operation, "database_operations", [operation])
    for part in inner:
        if isinstance(part, RunSQL):
            texts = part.sql if isinstance(part.sql, list | tuple) else [part.sql]
            yield from (re.sub(r"\$\$.*?\$\$", "", str(text), flags=re.DOTALL) for text in texts)
