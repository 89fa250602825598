"""The back office's pages of plans, invoices and what reduces them: finance and support."""

from invoicing.admin import (
    backfill_parts,
    backfills,
    corrections,
    invoices,
    outcomes,
    plans,
    settlements,
)

__all__ = [
    "backfill_parts",
    "backfills",
    "corrections",
    "invoices",
    "outcomes",
    "plans",
    "settlements",
]
