"""The back office's pages of obligations, schedules and the general ledger: owned by finance."""

from revrec.admin import (
    estimates,
    exchange,
    exports,
    journal,
    obligations,
    packs,
    periods,
    seals,
)

__all__ = [
    "estimates",
    "exchange",
    "exports",
    "journal",
    "obligations",
    "packs",
    "periods",
    "seals",
]
