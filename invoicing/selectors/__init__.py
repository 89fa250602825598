"""Reads: what is sold, what is claimed, what waits to be claimed."""

from invoicing.selectors.behind import EventBehind, Place, events_behind
from invoicing.selectors.invoices import (
    credit_notes,
    find_credit_note,
    find_invoice,
    find_line,
    grants_of_line,
    invoices,
    is_issued,
    lines_left,
)
from invoicing.selectors.plans import (
    billing_periods_of,
    governing_plan_version,
    overage_price,
    plan_version_of,
    running_period,
    subscription_of,
    subscriptions,
)
from invoicing.selectors.usage import (
    OverageState,
    Preview,
    credits_used,
    overage_state,
    overcharged_periods,
    periods_to_invoice,
    preview,
    unbilled_overage,
    uninvoiced,
)

__all__ = [
    "EventBehind",
    "OverageState",
    "Place",
    "Preview",
    "billing_periods_of",
    "credit_notes",
    "credits_used",
    "events_behind",
    "find_credit_note",
    "find_invoice",
    "find_line",
    "governing_plan_version",
    "grants_of_line",
    "invoices",
    "is_issued",
    "lines_left",
    "overage_price",
    "overage_state",
    "overcharged_periods",
    "periods_to_invoice",
    "plan_version_of",
    "preview",
    "running_period",
    "subscription_of",
    "subscriptions",
    "unbilled_overage",
    "uninvoiced",
]
