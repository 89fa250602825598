"""What keeps an invoice from being issued by itself: amounts, first customers, runaway sizes.

Figures of a draft and the limits in force enter; the doubt leaves, in words that name the figures,
so that an approval is for just these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from billing_project.kernel.money import Money


@dataclass(frozen=True)
class Limits:
    """What the policy in force says.

    Attributes:
        approval_above: Minor units by currency; a currency that is not named has no limit.
        approves_first: Whether the first invoice of a customer is looked at.
        notes_above: Credit notes of support above it are proposed to finance; in a currency that
            is not named, all are. None: nobody has said anything yet.
        most_lines, most_drafts: Of one draft; of one billing period's usage.
        invoices_covered: Whether a period that grants covered gets an invoice over nothing.
    """

    approval_above: Mapping[str, int] = field(default_factory=dict)
    approves_first: bool = False
    notes_above: Mapping[str, int] | None = None
    most_lines: int = 1000
    most_drafts: int = 50
    invoices_covered: bool = False


# What governs where nobody approved anything: no approvals, and bounds that only faults exceed.
BUILT_IN = Limits()


@dataclass(frozen=True)
class Figures:
    """A draft as it would be issued."""

    total: Money
    line_count: int
    is_first: bool


def needs_approval(draft: Figures, limits: Limits) -> str:
    """Say why somebody has to approve a draft; "" if nobody has to."""
    limit = limits.approval_above.get(draft.total.currency)
    if limit is not None and draft.total.amount_minor > limit:
        return f"{draft.total} is above {Money(limit, draft.total.currency)}"
    if limits.approves_first and draft.is_first:
        return f"the customer's first invoice, over {draft.total}"
    return ""


def is_out_of_bounds(draft: Figures, limits: Limits) -> str:
    """Say why a draft looks like a fault upstream; "" if it does not."""
    if draft.line_count > limits.most_lines:
        return f"{draft.line_count} lines are more than the {limits.most_lines} of any draft"
    return ""


def is_too_often(draft_count: int, limits: Limits) -> str:
    """Say why a period's usage is not drafted once more; "" if it is."""
    if draft_count >= limits.most_drafts:
        return f"{draft_count} invoices of one period's usage are as many as there may be"
    return ""


def is_above_note_limit(total: Money, limits: Limits) -> bool:
    """Tell whether a note is above the limit that is stated for its currency, if one is."""
    limit = (limits.notes_above or {}).get(total.currency)
    return limit is not None and total.amount_minor > limit


def for_finance(total: Money, limits: Limits, before_minor: int = 0) -> str:
    """Say why a note is for finance to issue; "" if support may.

    Args:
        before_minor: What support took off the same invoice before: many small are a large one.
    """
    limit = (limits.notes_above or {}).get(total.currency)
    if limit is None:
        why = f"no limit is stated for notes in {total.currency}"
    elif total.amount_minor + before_minor > limit:
        before = f" with {Money(before_minor, total.currency)} before" if before_minor else ""
        why = f"{total}{before} is above {Money(limit, total.currency)}"
    else:
        return ""
    return f"{why}: propose it, and finance approves"
