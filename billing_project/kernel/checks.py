"""Checks of the books that the ground answers for: guards stand, commits are durable."""

import re
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import connection

from billing_project.kernel.approvals import is_as_proposed
from billing_project.kernel.books import Finding, check
from billing_project.kernel.constraint_text import Check, expected_checks, said_by, unique_names
from billing_project.kernel.evidence import sha256_of
from billing_project.kernel.guard_text import Guards, Trigger, bare, expected_guards
from billing_project.kernel.models import PolicyChange, PolicyEvidence, PolicyStatus
from billing_project.kernel.signing import digest_of

_STANDING = """
SELECT c.relname, t.tgname, t.tgenabled, p.proname, encode(t.tgargs, 'escape'), t.tgtype::int,
       coalesce(substring(pg_get_triggerdef(t.oid) FROM 'WHEN (\\(.*\\)) EXECUTE'), '')
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace
"""
_PARTITIONS = """
SELECT c.relname, p.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
JOIN pg_class p ON p.oid = i.inhparent WHERE c.relispartition AND c.relkind = 'r'
"""
_RULES = """
SELECT c.relname, r.rulename FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
WHERE c.relnamespace = current_schema()::regnamespace AND r.rulename <> '_RETURN' ORDER BY 1, 2
"""
# What PostgreSQL keeps foreign keys and deferred unique constraints with.
_SWITCHED_OFF = """
SELECT DISTINCT c.relname, coalesce(k.conname, t.tgname)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint
WHERE t.tgisinternal AND t.tgenabled NOT IN ('O', 'A')
  AND c.relnamespace = current_schema()::regnamespace ORDER BY 1, 2
"""
# PostgreSQL 18 knows constraints that are not enforced; before it the column is not there.
_CONSTRAINTS = """
SELECT c.relname, k.conname, coalesce(pg_get_expr(k.conbin, k.conrelid), ''), k.contype,
       k.convalidated AND coalesce((to_jsonb(k)->>'conenforced')::boolean, true),
       coalesce((SELECT array_agg(a.attname::text) FROM pg_attribute a
                 WHERE a.attrelid = k.conrelid AND a.attnum = ANY(k.conkey)), '{}')
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.connamespace = current_schema()::regnamespace
"""
_UNIQUE = """
SELECT t.relname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
WHERE i.indisunique AND i.indisvalid AND t.relnamespace = current_schema()::regnamespace
"""
_FUNCTIONS = """
SELECT proname, prosrc, coalesce(array_to_string(proconfig, '; '), '') FROM pg_proc
WHERE pronamespace = current_schema()::regnamespace
"""
_OWN_PATH = re.compile(r"search_path=\w+, pg_temp(;|$)")
_EVENTS = {4: "INSERT", 8: "DELETE", 16: "UPDATE", 32: "TRUNCATE"}  # pg_trigger.tgtype


@check("Every guard of the database stands, fires always and does what its migration says")
def guards_stand() -> Iterator[Finding]:
    """Compare triggers, and the functions that they call, with the migrations' own text.

    Nothing else may be on the project's tables: another trigger could drop a row, and a rule could
    rewrite a statement, before any guard sees it.
    """
    expected = expected_guards()
    yield from _triggers(expected)
    for table, name in _read(_RULES):
        yield Finding(f"table:{table}", f"rule {name} rewrites statements")
    for table, name in _read(_SWITCHED_OFF):
        yield Finding(f"table:{table}", f"{name} is switched off")
    functions = {name: (body, settings) for name, body, settings in _read(_FUNCTIONS)}
    yield from _functions(expected, functions)


@check("Evidence of proposals is what was attached")
def evidence_stands() -> Iterator[Finding]:
    """Take the hash of each document again."""
    for row in PolicyEvidence.objects.iterator():
        if sha256_of(row.title, row.document) != row.document_sha256:
            yield Finding(f"policychange:{row.change_id}", f"evidence {row.pk} is another document")


@check("Every constraint of the database stands, is enforced and says what its model says")
def constraints_stand() -> Iterator[Finding]:
    """Compare CHECK constraints with the models' conditions; look for unique ones by name."""
    rows = _read(_CONSTRAINTS)
    for table, name, *_, is_enforced, _ in sorted(rows):
        if not is_enforced:
            yield Finding(f"table:{table}", f"constraint {name} is not enforced")
    checks = {
        (table, name): (frozenset(columns), said_by(words))
        for table, name, words, kind, _, columns in rows
        if kind == "c"
    }
    for wanted in expected_checks(expected_guards()):
        yield from _kept(wanted, checks)
    for table, name in sorted(set(unique_names()) - set(_read(_UNIQUE))):
        yield Finding(f"table:{table}", f"constraint {name} is gone")


def _kept(
    wanted: Check, standing: dict[tuple[str, str], tuple[frozenset[str], tuple[str, ...]]]
) -> Iterator[Finding]:
    table = f"table:{wanted.table}"
    if not wanted.name:
        of_table = [said for (name, _), said in standing.items() if name == wanted.table]
        if not any(wanted.is_kept_by(*said) for said in of_table):
            yield Finding(table, f"the bounds of {', '.join(wanted.columns)} are gone")
    elif (found := standing.get((wanted.table, wanted.name))) is None:
        yield Finding(table, f"constraint {wanted.name} is gone")
    elif not wanted.is_kept_by(*found):
        yield Finding(table, f"constraint {wanted.name} is not the one of its model")


def _triggers(expected: Guards) -> Iterator[Finding]:
    partitions = _read(_PARTITIONS)
    wanted = dict(expected.triggers)
    for partition, parent in partitions:  # It keeps what its parent keeps.
        of_parent = {name: one for (table, name), one in wanted.items() if table == parent}
        wanted.update({(partition, name): one for name, one in of_parent.items()})
    ours = {table for table, _ in wanted} | {
        model._meta.db_table for model in apps.get_models(include_auto_created=True)
    }
    rows = _read(_STANDING)
    standing = {(table, name): _trigger(*words) for table, name, _, *words in rows}
    for (table, name), trigger in sorted(wanted.items()):
        found = standing.get((table, name))
        if found is None:
            yield Finding(f"table:{table}", f"guard {name} is gone")
        elif found != trigger:
            yield Finding(f"table:{table}", f"guard {name} is not the one of its migration")
    for table, name, state, *_ in sorted(rows):
        if (table, name) not in wanted and table in ours:
            yield Finding(f"table:{table}", f"trigger {name} is not of any migration")
        elif state != "A":
            yield Finding(f"table:{table}", f"guard {name} can be switched off (state {state})")


def _functions(expected: Guards, standing: dict[str, tuple[str, str]]) -> Iterator[Finding]:
    """Find functions that were replaced, or look for tables where their caller says."""
    needs_own_path = expected.needs_own_path()
    for name, function in sorted(expected.functions.items()):
        body, settings = standing.get(name, ("", ""))
        if body != function.body:
            yield Finding(f"function:{name}", "is not the one of its migration")
        elif name in needs_own_path and not _OWN_PATH.search(settings):
            yield Finding(f"function:{name}", "reads tables that its caller can put others before")


def _read(question: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return list(cursor.fetchall())


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
