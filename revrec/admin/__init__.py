"""The back office's pages of obligations, schedules and the general ledger: owned by finance."""

from revrec.admin import journal, obligations, seals

__all__ = ["journal", "obligations", "seals"]
