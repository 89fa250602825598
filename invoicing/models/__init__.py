"""What was sold and claimed: money, settled in minor units, always with its currency."""

from invoicing.models.correction import CreditNote, CreditNoteLine, CreditNoteReason, Payment
from invoicing.models.invoice import (
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    LineKind,
    LineUsage,
    NumberSeries,
)
from invoicing.models.plan import Plan, PlanVersion, Subscription
from invoicing.models.proposal import ProposedCreditNote

__all__ = [
    "CreditNote",
    "CreditNoteLine",
    "CreditNoteReason",
    "Invoice",
    "InvoiceLine",
    "InvoiceStatus",
    "LineKind",
    "LineUsage",
    "NumberSeries",
    "Payment",
    "Plan",
    "PlanVersion",
    "ProposedCreditNote",
    "Subscription",
]
