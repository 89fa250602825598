"""The back office's pages of obligations, schedules and the general ledger: owned by finance."""

from revrec.admin import (
    allocations,
    bases,
    disclosures,
    estimates,
    exchange,
    exports,
    journal,
    modifications,
    obligations,
    packs,
    periods,
    recognition,
    seals,
    zone,
)

__all__ = [
    "allocations",
    "bases",
    "disclosures",
    "estimates",
    "exchange",
    "exports",
    "journal",
    "modifications",
    "obligations",
    "packs",
    "periods",
    "recognition",
    "seals",
    "zone",
]
