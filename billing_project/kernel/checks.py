"""Checks of the books that the ground answers for: guards stand, commits are durable."""

import re
from collections.abc import Iterator

from django.db import connection

from billing_project.kernel.approvals import is_as_proposed
from billing_project.kernel.books import Finding, check
from billing_project.kernel.guard_text import Guards, Trigger, bare, expected_guards
from billing_project.kernel.models import PolicyChange, PolicyStatus
from billing_project.kernel.signing import digest_of

_STANDING = """
SELECT c.relname, t.tgname, t.tgenabled, p.proname, encode(t.tgargs, 'escape'), t.tgtype::int,
       coalesce(substring(pg_get_triggerdef(t.oid) FROM 'WHEN (\\(.*\\)) EXECUTE'), '')
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal
"""
_FUNCTIONS = """
SELECT proname, prosrc, coalesce(array_to_string(proconfig, '; '), '') FROM pg_proc
WHERE pronamespace = current_schema()::regnamespace
"""
_OWN_PATH = re.compile(r"search_path=\w+, pg_temp(;|$)")
_EVENTS = {4: "INSERT", 8: "DELETE", 16: "UPDATE", 32: "TRUNCATE"}  # pg_trigger.tgtype


@check("Every guard of the database stands, fires always and does what its migration says")
def guards_stand() -> Iterator[Finding]:
    """Compare triggers, and the functions that they call, with the migrations' own text."""
    expected = expected_guards()
    with connection.cursor() as cursor:
        cursor.execute(_STANDING)
        rows = cursor.fetchall()
        cursor.execute(_FUNCTIONS)
        functions = {name: (body, settings) for name, body, settings in cursor.fetchall()}
    standing = {(table, name): _trigger(*words) for table, name, _, *words in rows}
    for (table, name), trigger in sorted(expected.triggers.items()):
        found = standing.get((table, name))
        if found is None:
            yield Finding(f"table:{table}", f"guard {name} is gone")
        elif found != trigger:
            yield Finding(f"table:{table}", f"guard {name} is not the one of its migration")
    for table, name, state, *_ in sorted(rows):
        if state != "A":
            yield Finding(f"table:{table}", f"guard {name} can be switched off (state {state})")
    yield from _functions(expected, functions)


def _functions(expected: Guards, standing: dict[str, tuple[str, str]]) -> Iterator[Finding]:
    """Find functions that were replaced, or look for tables where their caller says."""
    needs_own_path = expected.needs_own_path()
    for name, function in sorted(expected.functions.items()):
        body, settings = standing.get(name, ("", ""))
        if body != function.body:
            yield Finding(f"function:{name}", "is not the one of its migration")
        elif name in needs_own_path and not _OWN_PATH.search(settings):
            yield Finding(f"function:{name}", "reads tables that its caller can put others before")


def _trigger(function: str, arguments: str, kind: int, when: str) -> Trigger:
    words = ",".join(arguments.split("\\000")[:-1])
    moment = "BEFORE" if kind & 2 else "AFTER"
    events = sorted(name for bit, name in _EVENTS.items() if kind & bit)
    level = "ROW" if kind & 1 else "STATEMENT"
    return Trigger(f"{function}({words})", " ".join([moment, *events, level]), bare(when))


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
