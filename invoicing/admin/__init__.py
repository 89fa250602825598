"""The back office's pages of plans, invoices and what reduces them: finance and support."""

from invoicing.admin import corrections, invoices, plans

__all__ = ["corrections", "invoices", "plans"]
