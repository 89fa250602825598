"""The back office's pages of plans, invoices and what reduces them: finance and support."""

from invoicing.admin import backfills, corrections, invoices, plans

__all__ = ["backfills", "corrections", "invoices", "plans"]
