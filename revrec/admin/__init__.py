"""The back office's pages of obligations, schedules and the general ledger: owned by finance."""

from revrec.admin import (
    disclosures,
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
    "disclosures",
    "estimates",
    "exchange",
    "exports",
    "journal",
    "obligations",
    "packs",
    "periods",
    "seals",
]
