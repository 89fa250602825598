"""The back office's pages of rates, rated usage, grants and their ledger: owned by product."""

from credits.admin import alerts, controls, grants, rates, terms, usage, waiting

__all__ = ["alerts", "controls", "grants", "rates", "terms", "usage", "waiting"]
