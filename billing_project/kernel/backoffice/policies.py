"""What a person who decides on a policy change reads: it beside the version that governs."""

import json
from typing import Any

from django.template.loader import render_to_string

from billing_project.kernel.backoffice.difference import Difference, differences
from billing_project.kernel.backoffice.display import badge_html, moment_text, object_link
from billing_project.kernel.backoffice.forms import ReasonField, ReasonForm
from billing_project.kernel.models import PolicyChange, PolicyStatus, User


def previous_version(change: PolicyChange) -> PolicyChange | None:
    """Return the newest approved version of the same rule before this one, or None."""
    rule, _, _ = change.subject.rpartition(":")
    return (
        PolicyChange.objects.filter(
            kind=change.kind,
            subject__startswith=f"{rule}:",
            status=PolicyStatus.APPROVED,
            pk__lt=change.pk,
        )
        .order_by("-pk")
        .first()
    )


def content_differences(change: PolicyChange, before: PolicyChange | None) -> list[Difference]:
    """Compare a change's content with that of an earlier version, what differs first.

    The version's own number is left out: it always differs.
    """
    old = json.loads(before.content) if before else None
    rows = [row for row in differences(old, json.loads(change.content)) if row.path != "number"]
    return sorted(rows, key=lambda row: not row.is_changed)


def difference_html(change: PolicyChange) -> str:
    """Write the table of what a change would change."""
    before = previous_version(change)
    rows = content_differences(change, before)
    context = {
        "rows": rows,
        "before": before,
        "before_link": object_link(before, before.subject) if before else "",
        "changed_count": sum(row.is_changed for row in rows),
    }
    return render_to_string("backoffice/difference.html", context)


def why_not(user: User, change: PolicyChange) -> str:
    """Say why a person cannot decide on a change, or return ""."""
    if change.status != PolicyStatus.PROPOSED:
        return f"This change was {change.status} already."
    if change.proposed_by_id == user.pk:
        return "You proposed this change: somebody else decides on it."
    return ""


class DecisionForm(ReasonForm):
    """The decision on a policy change, with all that an approver must have read."""

    subject: PolicyChange
    before_template = "backoffice/decision.html"
    reason = ReasonField(label="Reason of the decision")

    def facts(self) -> list[tuple[str, Any]]:
        """List who wants what from when."""
        change = self.subject
        return [
            ("Rule", change.subject),
            ("Status", badge_html(change.status, "wait")),
            ("Proposed by", f"{change.proposed_by}, {moment_text(change.proposed_at)}"),
            ("Governs from", moment_text(change.effective_at)),
            ("Reason code", change.reason_code),
            ("sha256 of the content", f"{change.content_sha256[:16]}…"),
        ]

    def difference_html(self) -> str:
        """Write the table of what the change would change."""
        return difference_html(self.subject)
