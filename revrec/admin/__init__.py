"""The back office's pages of obligations, schedules and the general ledger: owned by finance."""

from revrec.admin import journal, obligations

__all__ = ["journal", "obligations"]
