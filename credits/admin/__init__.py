"""The back office's pages of rates, rated usage, grants and their ledger: owned by product."""

from credits.admin import (
    alerts,
    anomalies,
    controls,
    grants,
    incidents,
    rates,
    supplier_bills,
    terms,
    usage,
    waiting,
)

__all__ = [
    "alerts",
    "anomalies",
    "controls",
    "grants",
    "incidents",
    "rates",
    "supplier_bills",
    "terms",
    "usage",
    "waiting",
]
