"""What was sold and claimed: money, settled in minor units, always with its currency."""

from invoicing.models.change import ChangeKind, SubscriptionChange
from invoicing.models.correction import CreditNote, CreditNoteLine, CreditNoteReason, Payment
from invoicing.models.ending import InvoiceVoid, WriteOff
from invoicing.models.invoice import (
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    LineKind,
    LineUsage,
    NumberSeries,
)
from invoicing.models.item import ItemKind, ItemTiming, PlanItem
from invoicing.models.outcome import LineOutcome, Outcome, OutcomeDecision, OutcomeState
from invoicing.models.plan import Plan, PlanVersion, Subscription
from invoicing.models.proposal import ProposedCreditNote
from invoicing.models.seat import SeatChange
from invoicing.models.settlement import (
    BalanceApplication,
    CustomerBalance,
    Refund,
    RefundFailure,
)

__all__ = [
    "BalanceApplication",
    "ChangeKind",
    "CreditNote",
    "CreditNoteLine",
    "CreditNoteReason",
    "CustomerBalance",
    "Invoice",
    "InvoiceLine",
    "InvoiceStatus",
    "InvoiceVoid",
    "ItemKind",
    "ItemTiming",
    "LineKind",
    "LineOutcome",
    "LineUsage",
    "NumberSeries",
    "Outcome",
    "OutcomeDecision",
    "OutcomeState",
    "Payment",
    "Plan",
    "PlanItem",
    "PlanVersion",
    "ProposedCreditNote",
    "Refund",
    "RefundFailure",
    "SeatChange",
    "Subscription",
    "SubscriptionChange",
    "WriteOff",
]
