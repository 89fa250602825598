"""The back office's pages of plans, invoices and what reduces them: finance and support."""

from invoicing.admin import (
    backfill_parts,
    backfills,
    corrections,
    coupons,
    endings,
    holds,
    invoices,
    lines,
    mails,
    markets,
    outcomes,
    plans,
    provider,
    settlements,
    stripe,
    subscriptions,
)

__all__ = [
    "backfill_parts",
    "backfills",
    "corrections",
    "coupons",
    "endings",
    "holds",
    "invoices",
    "lines",
    "mails",
    "markets",
    "outcomes",
    "plans",
    "provider",
    "settlements",
    "stripe",
    "subscriptions",
]
