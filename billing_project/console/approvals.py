"""What waits for a second person: what was proposed, drafts that are held, months to close."""

from dataclasses import dataclass
from datetime import datetime

from billing_project.kernel.backoffice.difference import Difference
from billing_project.kernel.backoffice.display import object_url, sentence_text
from billing_project.kernel.backoffice.policies import (
    approvals_text,
    content_differences,
    previous_version,
    totals_of,
    why_not_approve,
)
from billing_project.kernel.effects import effect_in
from billing_project.kernel.models import PolicyChange, PolicyStatus, User
from billing_project.kernel.quantity import how_many
from invoicing.models import BillingHold, HoldCause
from invoicing.selectors.holds import why_not_release
from revrec.admin.periods import why_not_close
from revrec.models import AccountingPeriod, PeriodStatus

MOST = 30  # Changes shown; the oldest first, so that none is passed by.
_DIFFERENCES = 4  # Of a change; its page has all.


@dataclass(frozen=True)
class Approval:
    """One thing to decide on.

    Attributes:
        differs: The first of what would change, of a rule that governs already.
        more: How many further values would change.
        effect: The simulated effect in one line; "" where none was simulated.
        waits_for: Who has to approve, and who did.
        refusal: Why the person who looks cannot; "" where they can.
    """

    kind: str
    title: str
    says: str
    url: str
    proposed_by: str
    since: datetime
    differs: tuple[Difference, ...]
    more: int
    effect: str
    waits_for: str
    refusal: str


def approvals_of(user: User) -> tuple[list[Approval], int]:
    """List what waits, what the person can decide on first; and how many changes are not shown."""
    waiting = PolicyChange.objects.filter(status=PolicyStatus.SUBMITTED)
    changes = list(waiting.select_related("proposed_by").order_by("id")[:MOST])
    found = [
        *close_approvals(user),
        *hold_approvals(user),
        *(_of_change(user, one) for one in changes),
    ]
    return sorted(found, key=lambda one: bool(one.refusal)), waiting.count() - len(changes)


def close_approvals(user: User) -> list[Approval]:
    """List the months in soft close."""
    rows = AccountingPeriod.objects.filter(status=PeriodStatus.SOFT)
    return [_of_close(user, one) for one in rows.select_related("soft_closed_by")]


def hold_approvals(user: User) -> list[Approval]:
    """List the drafts that only finance lets go, the oldest first."""
    rows = BillingHold.objects.filter(released_at=None, cause=HoldCause.APPROVAL)
    held = rows.select_related("customer", "invoice").order_by("id")[:MOST]
    return [_of_hold(user, one) for one in held]


def _of_change(user: User, change: PolicyChange) -> Approval:
    before = previous_version(change)
    changed = [row for row in content_differences(change, before) if row.is_changed]
    return Approval(
        kind=sentence_text(change.kind),
        title=change.title,
        says=change.product_requirement,
        url=object_url(change),
        proposed_by=str(change.proposed_by),
        since=change.proposed_at,
        differs=tuple(changed[:_DIFFERENCES]) if before else (),
        more=max(0, len(changed) - _DIFFERENCES) if before else 0,
        effect=effect_text(change),
        waits_for=approvals_text(change),
        refusal=why_not_approve(user, change),
    )


def effect_text(change: PolicyChange) -> str:
    """Sum the simulated effect by unit ("12 customers: +120 credit, -4.5 USD"); "" without one."""
    if change.effect is None:
        return ""
    effect, _ = effect_in(change.effect)
    moved = [
        f"{total['difference']} {total['unit']}"
        for total in totals_of(effect)
        if total["difference"] != "0"
    ]
    touched = how_many(effect.customers, "customer")
    return f"{touched}: {', '.join(moved) if moved else 'no figure changes'}"


def _of_close(user: User, period: AccountingPeriod) -> Approval:
    assert period.soft_closed_at is not None, "in soft close"
    refusal = why_not_close(user, period)
    if not user.has_perm("revrec.close_accountingperiod"):
        refusal = "Only finance approvers close a month."
    return Approval(
        kind="Close",
        title=f"Close of {period}",
        says="In soft close: read its checklist and trial balance, then close it for good.",
        url=object_url(period),
        proposed_by=str(period.soft_closed_by),
        since=period.soft_closed_at,
        differs=(), more=0, effect="", waits_for="finance: waits", refusal=refusal,
    )  # fmt: skip


def _of_hold(user: User, hold: BillingHold) -> Approval:
    return Approval(
        kind="Invoice",
        title=f"{hold.invoice or hold.subject} for {hold.customer.name}",
        says=hold.detail,
        url=object_url(hold),
        proposed_by="billing run",
        since=hold.opened_at,
        differs=(), more=0, effect="", waits_for="finance: waits",
        refusal=why_not_release(user, hold),
    )  # fmt: skip
