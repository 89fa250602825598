"""The back office's pages of obligations, schedules and the general ledger: owned by finance."""

from revrec.admin import exports, journal, obligations, periods, seals

__all__ = ["exports", "journal", "obligations", "periods", "seals"]
