"""What a person who decides on a policy change reads: it beside the version that governs."""

import json
from decimal import Decimal
from typing import Any

from django.template.loader import render_to_string

from billing_project.kernel.approvals import holds, waiting_for
from billing_project.kernel.backoffice.difference import Difference, differences
from billing_project.kernel.backoffice.display import (
    badge_html,
    moment_text,
    number_text,
    object_link,
)
from billing_project.kernel.backoffice.forms import ReasonField, ReasonForm
from billing_project.kernel.effects import Effect, EffectRow, effect_in, simulate
from billing_project.kernel.kinds import is_about_the_same, kind_of
from billing_project.kernel.models import PolicyChange, PolicyStatus, User
from billing_project.kernel.signing import digest_of

POLICY_TONES = {
    "draft": "",
    "submitted": "wait",
    "approved": "good",
    "effective": "good",
    "superseded": "",
    "rejected": "bad",
    "withdrawn": "",
}


def previous_version(change: PolicyChange) -> PolicyChange | None:
    """Return the newest approved version of the same rule before this one, or None.

    Of a rule whose versions are not all about the same, the newest one that is.
    """
    rule, _, _ = change.subject.rpartition(":")
    earlier = PolicyChange.objects.filter(
        kind=change.kind,
        subject__startswith=f"{rule}:",
        status=PolicyStatus.APPROVED,
        pk__lt=change.pk,
    ).order_by("-pk")
    return next((one for one in earlier if is_about_the_same(one, change)), None)


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
        "is_draft": change.status == PolicyStatus.DRAFT,
        "before_link": object_link(before, before.subject) if before else "",
        "changed_count": sum(row.is_changed for row in rows),
    }
    return render_to_string("backoffice/difference.html", context)


def why_not(user: User, change: PolicyChange) -> str:
    """Say why a person cannot decide on a change, or return ""."""
    if change.status == PolicyStatus.DRAFT:
        return "This change is a draft: its author submits it first."
    if change.status != PolicyStatus.SUBMITTED:
        return f"This change was {change.status} already."
    if change.proposed_by_id == user.pk:
        return "You proposed this change: somebody else decides on it."
    if not any(holds(user, function) for function in change.needs):
        return f"Only {' and '.join(change.needs)} approvers decide, as members of their group."
    return ""


def why_not_approve(user: User, change: PolicyChange) -> str:
    """Say why a person cannot approve a change, or return ""."""
    if refusal := why_not(user, change):
        return refusal
    if change.approvals.filter(by=user).exists():
        return "You approved this change already: somebody else approves it as well."
    waiting = waiting_for(change)
    if not any(holds(user, function) for function in waiting):
        return f"This change waits for {' and '.join(waiting)} only."
    return ""


def approvals_text(change: PolicyChange) -> str:
    """Say which functions approved, and which are still waited for."""
    given = {row.function: row for row in change.approvals.select_related("by")}
    is_open = change.status in {PolicyStatus.DRAFT, PolicyStatus.SUBMITTED}
    parts = [
        f"{function}: {given[function].by}, {moment_text(given[function].at)}"
        if function in given
        else f"{function}: {'waits' if is_open else 'none'}"
        for function in change.needs
    ]
    return "; ".join(parts)


_UNCHANGED = 5  # Figures shown where none changes.
_MOST_ROWS = 50  # Of an effect on one page; the sums are of all.


def effect_html(document: dict[str, Any] | None, fresh: Effect | None = None) -> str:
    """Write the simulated effect of a change: as submitted, and as of now beside it."""
    if document is None:
        return "Nothing was simulated for this kind of change."
    stored, computed_at = effect_in(document)
    context = _effect_context(stored, fresh) | {"computed_at": moment_text(computed_at)}
    return render_to_string("backoffice/effect.html", context)


def preview_html(effect: Effect) -> str:
    """Write the effect of what is not proposed yet."""
    return render_to_string("backoffice/effect.html", _effect_context(effect, None))


def _effect_context(effect: Effect, fresh: Effect | None) -> dict[str, Any]:
    now_by = {_name(row): row for row in fresh.rows} if fresh else {}
    ordered = sorted(effect.figures, key=lambda row: -abs(row.difference))
    # Figures that stay as they are would hide those that change.
    changed = [row for row in ordered if row.difference or _changed_parts(effect, row)]
    shown = (changed or ordered[:_UNCHANGED])[:_MOST_ROWS]
    largest = max((abs(row.difference) for row in ordered), default=Decimal(0))
    return {
        "effect": effect,
        "rows": [
            _row(row, now_by.get(_name(row)), largest)
            for figure in shown
            for row in (figure, *_changed_parts(effect, figure))
        ],
        "more": len(ordered) - len(shown),
        "dearer": sum(row.difference > 0 for row in ordered),
        "cheaper": sum(row.difference < 0 for row in ordered),
        "totals": totals_of(effect),
        "fresh": fresh,
        "fresh_totals": totals_of(fresh) if fresh else [],
    }


def _changed_parts(effect: Effect, figure: EffectRow) -> list[EffectRow]:
    """Return the parts that make a figure differ, those that offset each other included."""
    parts = (row for row in effect.rows if row.part_of == figure.subject)
    return [row for row in parts if row.difference and row.unit == figure.unit]


def _name(row: EffectRow) -> tuple[str, str, str]:
    return row.part_of, row.subject, row.unit


def _row(row: EffectRow, fresh: EffectRow | None, largest: Decimal) -> dict[str, Any]:
    share = min(abs(row.difference) / largest, Decimal(1)) if largest else Decimal(0)
    return {
        "subject": row.subject,
        "unit": row.unit,
        "before": number_text(row.before),
        "after": number_text(row.after),
        "difference": signed_text(row.difference),
        "now": _now_text(fresh),
        "share": int(share * 50),
        "is_more": row.difference > 0,
        "is_part": bool(row.part_of),
    }


def signed_text(value: Decimal) -> str:
    """Write a difference with its sign ("+1,200.5")."""
    return f"+{number_text(value)}" if value > 0 else number_text(value)


def _now_text(row: EffectRow | None) -> str:
    return signed_text(row.difference) if row else "-"


def totals_of(effect: Effect) -> list[dict[str, str]]:
    """Sum the figures by unit, those of no part; as people read them."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for row in effect.figures:
        before, after = sums.get(row.unit, (Decimal(0), Decimal(0)))
        sums[row.unit] = (before + row.before, after + row.after)
    return [
        {
            "unit": unit,
            "before": number_text(before),
            "after": number_text(after),
            "difference": signed_text(after - before),
        }
        for unit, (before, after) in sorted(sums.items())
    ]


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
            ("Status", badge_html(change.status, POLICY_TONES[change.status])),
            ("Proposed by", f"{change.proposed_by}, {moment_text(change.proposed_at)}"),
            (governs_label(change), governs_text(change)),
            ("Approvals", approvals_text(change)),
            ("Reason code", change.reason_code),
            ("sha256 of what is approved", f"{digest_of(change)[:16]}…"),
        ]

    def difference_html(self) -> str:
        """Write the table of what the change would change."""
        return difference_html(self.subject)

    def effect_html(self) -> str:
        """Write what the change would have done on the last period, as submitted and as of now."""
        return effect_html(self.subject.effect, simulate(self.subject))

    def consequence(self) -> str:
        """Say what the approval does."""
        return kind_of(self.subject.kind).consequence


def governs_label(change: PolicyChange) -> str:
    """Name the date of a change: a rule governs from it, an act is only dated."""
    return "Governs from" if kind_of(change.kind).is_rule else "Dated"


def governs_text(change: PolicyChange) -> str:
    """Write from when a change governs, and until when if it expires."""
    until = f" until {moment_text(change.expires_at)}" if change.expires_at else ""
    return f"{moment_text(change.effective_at)}{until}"
