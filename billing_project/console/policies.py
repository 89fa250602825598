"""Every policy with its state at an instant: since when, who asked, who approved, what changed.

Acts (a credit note, a backfill) are decided like policies but do not govern; they are left out.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from billing_project.kernel.backoffice.difference import Difference, differences
from billing_project.kernel.exporting import Column, Row
from billing_project.kernel.kinds import Kind, acts, is_about_the_same, kind_of
from billing_project.kernel.models import PolicyApproval, PolicyChange, PolicyStatus
from billing_project.kernel.policy_states import (
    PolicyState,
    Term,
    state_of_parts,
    superseded_from,
)
from billing_project.kernel.signing import digest_of
from credits.selectors.governing import pins_before

COLUMNS = (
    Column("rule"), Column("kind"), Column("subject"), Column("title"), Column("state"),
    Column("effective_at", datetime), Column("expires_at", datetime),
    Column("superseded_at", datetime), Column("product_requirement"),
    Column("engineering_note"), Column("reason_code"), Column("proposed_by"),
    Column("proposed_at", datetime), Column("approvals"), Column("decided_by"),
    Column("decided_at", datetime), Column("decision_reason"), Column("replaces"),
    Column("differences"), Column("content_sha256"), Column("sha256"), Column("content"),
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One version of one policy.

    Attributes:
        rule: What its versions have in common ("rate_card:standard"); a draft's is its kind.
        state: At the instant that was asked about.
        superseded_at: When a later version takes over, as far as is known; None: none does. Of
            one that is about several customers, for the last of them.
        before: The version whose place it took, or takes.
    """

    change: PolicyChange
    kind: Kind
    rule: str
    state: PolicyState
    superseded_at: datetime | None
    before: PolicyChange | None

    @property
    def approvals(self) -> list[PolicyApproval]:
        """Who approved it, in the order of time."""
        return list(self.change.approvals.all())

    @property
    def sha256(self) -> str:
        """What an approver signs: words, dates and content."""
        return digest_of(self.change)

    def changed(self) -> list[Difference]:
        """List the values that differ from the version before it."""
        old = json.loads(self.before.content) if self.before else None
        rows = differences(old, json.loads(self.change.content))
        return [row for row in rows if row.is_changed and row.path != "number"]


def rule_of(change: PolicyChange) -> str:
    """Name the rule that a change is a version of."""
    return change.subject.rpartition(":")[0] or change.kind


def policies_at(
    at: datetime, *, kind: str = "", rule: str = "", is_in_force: bool = True
) -> list[Entry]:
    """List policies with their state at an instant, as is known now; by rule, the newest first.

    Args:
        kind: Of one kind only.
        rule: The versions of one rule only.
        is_in_force: Only what governs at that instant; otherwise the whole history.
    """
    changes = PolicyChange.objects.exclude(kind__in=acts())
    if kind:
        changes = changes.filter(kind=kind)
    if rule:
        changes = changes.filter(kind=rule.partition(":")[0])
    if is_in_force:
        changes = changes.filter(status=PolicyStatus.APPROVED)
    rows = changes.select_related("proposed_by", "decided_by", "replaces")
    entries = [
        entry
        for name, versions in sorted(_by_rule(rows.prefetch_related("approvals__by")).items())
        if rule in ("", name)
        for entry in _entries(name, versions, at)
    ]
    return [one for one in entries if not is_in_force or one.state == PolicyState.EFFECTIVE]


def kinds_known() -> list[Kind]:
    """List the kinds of which there is any policy."""
    codes = PolicyChange.objects.exclude(kind__in=acts()).values_list("kind", flat=True)
    return sorted({kind_of(code) for code in codes.order_by().distinct()}, key=lambda k: k.label)


def export_rows(entries: list[Entry]) -> Iterator[Row]:
    """Write entries as the rows of an export, one a version, with both sha256s."""
    for one in entries:
        change = one.change
        yield {
            "rule": one.rule,
            "kind": change.kind,
            "subject": change.subject,
            "title": change.title,
            "state": str(one.state),
            "effective_at": change.effective_at,
            "expires_at": change.expires_at,
            "superseded_at": one.superseded_at,
            "product_requirement": change.product_requirement,
            "engineering_note": change.engineering_note,
            "reason_code": change.reason_code,
            "proposed_by": str(change.proposed_by),
            "proposed_at": change.proposed_at,
            "approvals": "; ".join(
                f"{row.function} {row.by} {row.at.isoformat()} {row.sha256}"
                for row in one.approvals
            ),
            "decided_by": str(change.decided_by) if change.decided_by else None,
            "decided_at": change.decided_at,
            "decision_reason": change.decision_reason,
            "replaces": change.replaces.subject if change.replaces else None,
            "differences": "; ".join(
                f"{row.path}: {row.before or 'none'} -> {row.after or 'dropped'}"
                for row in one.changed()
            ),
            "content_sha256": change.content_sha256,
            "sha256": one.sha256,
            "content": change.content,
        }


def _by_rule(changes: Iterable[PolicyChange]) -> dict[str, list[PolicyChange]]:
    rules: dict[str, list[PolicyChange]] = defaultdict(list)
    for change in changes:
        rules[rule_of(change)].append(change)
    return rules


def _entries(rule: str, versions: list[PolicyChange], at: datetime) -> list[Entry]:
    """Give each version its state; approved ones by when they take over, the last first."""
    approved = [change for change in versions if change.status == PolicyStatus.APPROVED]
    approved.sort(key=lambda change: (change.effective_at, change.pk))
    place = {change.pk: index for index, change in enumerate(approved)}
    by_part = _later_by_part(approved)
    entries = []
    for change in sorted(versions, key=lambda change: -change.pk):
        index = place.get(change.pk, len(approved))
        after = [one for one in approved[index + 1 :] if is_about_the_same(one, change)]
        later = by_part.get(change.pk) or [_terms(after)]
        [term] = _terms([change])
        entries.append(
            Entry(
                change=change,
                kind=kind_of(change.kind),
                rule=rule,
                state=state_of_parts(change.status, term, later, at),
                superseded_at=superseded_from(later),
                before=_before(approved, change, index),
            )
        )
    return entries


def _before(approved: list[PolicyChange], change: PolicyChange, index: int) -> PolicyChange | None:
    """Return the approved version that a change follows: in time, or at its making."""
    if index < len(approved):
        earlier = approved[:index]
    else:
        earlier = sorted((one for one in approved if one.pk < change.pk), key=lambda one: one.pk)
    return next((one for one in reversed(earlier) if is_about_the_same(one, change)), None)


def _later_by_part(approved: list[PolicyChange]) -> dict[int, list[list[Term]]]:
    """Return what goes before each move of customers to a version, customer by customer."""
    moves = [change.pk for change in approved if kind_of(change.kind).parts]
    return {
        pk: [_terms([pin.policy_change for pin in pins]) for pins in of_customers]
        for pk, of_customers in (pins_before(moves) if moves else {}).items()
    }


def _terms(changes: Iterable[PolicyChange]) -> list[Term]:
    return [Term(one.effective_at, one.expires_at) for one in changes]
