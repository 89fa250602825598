"""What is held and why, and the limits in force."""

from datetime import datetime

from django.db.models import Q, QuerySet

from billing_project.kernel.approvals import content_of
from billing_project.kernel.models import AuditEntry, PolicyChange, User, in_force
from billing_project.kernel.money import Money
from billing_project.kernel.period import hour_of
from billing_project.kernel.remembering import remembered
from credits.models import BillingPeriod
from credits.selectors.usage import windows_to_rate
from credits.selectors.waiting import is_without_rate, why_unrated
from invoicing.approval import (
    BUILT_IN,
    Figures,
    Limits,
    is_out_of_bounds,
    is_too_often,
    needs_approval,
)
from invoicing.models import (
    BillingHold,
    DraftRejection,
    HoldCause,
    Invoice,
    InvoicePolicy,
    InvoiceStatus,
    LineKind,
    LineUsage,
    SplitBy,
)
from invoicing.selectors.markets import can_be_taxed
from invoicing.selectors.splitting import split_of

_MOST_LOOKED_AT = 200
_SALES = ("sell_credit_pack", "sell_commitment")  # At a price that somebody named.
# Those from before markets were a cause of their own are told by their words.
_FOR_MARKETS = Q(cause=HoldCause.MARKET) | Q(
    cause=HoldCause.FAULT, detail__startswith="the market of "
)


def limits_at(at: datetime) -> Limits:
    """Return the limits of the policy in force, or the built-in ones."""
    return remembered(("limits_at", at), lambda: _limits_at(at))


def _limits_at(at: datetime) -> Limits:
    rows = InvoicePolicy.objects.filter(in_force(at, "policy_change__"))
    policy = rows.order_by("-policy_change__effective_at", "-number").first()
    if policy is None:
        return BUILT_IN
    return Limits(
        policy.approval_above, policy.approves_first, policy.notes_above, policy.most_lines,
        policy.most_drafts, policy.invoices_covered,
    )  # fmt: skip


def open_holds() -> QuerySet[BillingHold]:
    """List what waits to be released, the longest first."""
    return BillingHold.objects.filter(released_at__isnull=True).order_by("opened_at", "id")


def hold_of(subject: str) -> BillingHold | None:
    """Return the hold that stands for a subject."""
    return open_holds().filter(subject=subject).first()


def why_not_release(user: User, hold: BillingHold) -> str:
    """Say why a person cannot let a hold go, or return ""."""
    if hold.cause != HoldCause.APPROVAL:
        return ""
    if not user.has_perm("invoicing.approve_invoice"):
        return "Only finance approvers let it go."
    sales = AuditEntry.objects.filter(subject=f"invoice:{hold.invoice_id}", action__in=_SALES)
    if sales.filter(by=user).exists():
        return "You sold this: somebody else approves its invoice."
    return ""


def rejection_of(invoice: Invoice) -> DraftRejection | None:
    """Return why a draft will never be issued, if somebody rejected it."""
    return DraftRejection.objects.filter(hold__invoice=invoice).order_by("-id").first()


def was_released(subject: str, cause: str, detail: str) -> bool:
    """Tell whether a person let a subject go for a cause in just these words."""
    return BillingHold.objects.filter(
        subject=subject, cause=cause, detail=detail, released_at__isnull=False, rejection=None
    ).exists()


def holds_to_reopen(at: datetime) -> QuerySet[BillingHold]:
    """List holds for markets that were closed and by now can be sold in.

    Each market of an entity is asked about once, however many wait for it.
    """
    same = ("customer__country", "invoice__currency", "invoice__entity_id")
    waiting = open_holds().filter(_FOR_MARKETS, invoice__isnull=False)
    one_each = waiting.order_by(*same).distinct(*same).select_related("invoice__customer")
    can_be_issued = Q(pk__in=[])
    for hold in one_each:
        draft = hold.invoice
        assert draft is not None
        if can_be_taxed(draft.customer, draft.currency, at, draft.entity_id):
            can_be_issued |= Q(
                customer__country=draft.customer.country, invoice__currency=draft.currency,
                invoice__entity=draft.entity_id,
            )  # fmt: skip
    return waiting.filter(can_be_issued)


def doubts_about(invoice: Invoice, period: BillingPeriod | None, at: datetime) -> dict[str, str]:
    """Return what stands against issuing a draft by itself, by cause; call it under the lock.

    Args:
        period: Whose usage the draft claims: usage of it that is neither billed nor excluded is a
            doubt. What is in quarantine is excluded, with its reason.
    """
    limits = limits_at(at)
    issued = Invoice.objects.filter(customer_id=invoice.customer_id)
    figures = Figures(
        Money(invoice.total_minor, invoice.currency),
        invoice.lines.count(),
        limits.approves_first and not issued.exclude(status=InvoiceStatus.DRAFT).exists(),
    )
    found = {
        HoldCause.INCOMPLETE.value: _unbilled(period) if period else "",
        HoldCause.BOUNDS.value: is_out_of_bounds(figures, limits)
        or _too_many_parts(invoice, limits),
        HoldCause.APPROVAL.value: needs_approval(figures, limits),
    }
    return {cause: detail for cause, detail in found.items() if detail}


def _too_many_parts(invoice: Invoice, limits: Limits) -> str:
    """Say into how many invoices a draft would be cut, where that looks like a fault upstream."""
    if split_of(invoice.customer) != SplitBy.WORKSPACE:
        return ""
    usage = LineUsage.objects.filter(line__invoice=invoice, kind=LineKind.OVERAGE, is_void=False)
    count = usage.values("rated_usage__window__workspace").distinct().count()
    return is_too_often(count - 1, limits)


def content_of_policy(policy: InvoicePolicy) -> dict[str, object]:
    """Return the whole version as plain values."""
    return {
        "number": policy.number,
        "approval_above": policy.approval_above,
        "approves_first": policy.approves_first,
        "notes_above": policy.notes_above,
        "most_lines": policy.most_lines,
        "most_drafts": policy.most_drafts,
        **({"invoices_covered": True} if policy.invoices_covered else {}),
    }


def _unbilled(period: BillingPeriod) -> str:
    """Say which usage of a period is recorded, and neither rated nor excluded with a reason.

    Usage without an approved rate is excluded: it waits, with its reason and owner, for a rate and
    a further invoice.
    """
    windows = windows_to_rate([period.customer_id]).filter(
        start_at__gte=hour_of(period.start_at), start_at__lt=period.end_at
    )
    some = list(windows[:_MOST_LOOKED_AT])
    changed = [window for window in some if window.was_rated]  # type: ignore[attr-defined]
    why = [words for words in why_unrated(period.customer_id, some) if not is_without_rate(words)]
    if changed:
        why.append("it changed since it was rated")
    if not why:
        return ""
    return f"usage of {period} is not rated: {'; '.join(why)}"[:500]


@content_of("invoice_policy")
def _content(change: PolicyChange) -> dict[str, object]:
    return content_of_policy(InvoicePolicy.objects.get(policy_change=change))
