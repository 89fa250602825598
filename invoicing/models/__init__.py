"""What was sold and claimed: money, settled in minor units, always with its currency."""

from invoicing.models.change import ChangeKind, SubscriptionChange
from invoicing.models.correction import (
    CreditNote,
    CreditNoteLine,
    CreditNoteReason,
    CreditNoteVoid,
    Payment,
)
from invoicing.models.coupon import Coupon, CouponRedemption, LineDiscount
from invoicing.models.document import CreditNoteDocument, InvoiceDocument
from invoicing.models.ending import InvoiceVoid, WriteOff
from invoicing.models.entity import (
    MAIN_CODE,
    MAIN_ENTITY,
    CustomerAddress,
    CustomerEntity,
    LegalEntity,
    LegalEntityVersion,
)
from invoicing.models.hold import BillingHold, DraftRejection, HoldCause, InvoicePolicy
from invoicing.models.invoice import (
    PREPAID,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    LineKind,
    LineUsage,
    NumberSeries,
    TaxTreatment,
)
from invoicing.models.item import ItemKind, ItemTiming, PlanItem
from invoicing.models.mail import HostedLink, InvoiceMail
from invoicing.models.market import CustomerTaxId, MarketGate, TaxRate
from invoicing.models.mirror import MirroredUsage, StripeMeter
from invoicing.models.opening import (
    OpeningExplanation,
    OpeningImport,
    OpeningItem,
    OpeningItemState,
    OpeningState,
)
from invoicing.models.outcome import LineOutcome, Outcome, OutcomeDecision, OutcomeState
from invoicing.models.plan import Anchor, Plan, PlanVersion, Subscription
from invoicing.models.proposal import ProposedCreditNote
from invoicing.models.provider import (
    Dispute,
    DisputeOutcome,
    FeeKind,
    Overpayment,
    ProcessorFee,
    Verdict,
)
from invoicing.models.recharge import AutoRecharge, Recharge, RechargeState
from invoicing.models.seat import SeatChange
from invoicing.models.settlement import (
    BalanceApplication,
    CustomerBalance,
    Refund,
    RefundFailure,
)
from invoicing.models.split import InvoiceSplit, SplitBy
from invoicing.models.stripe import (
    MIRRORED,
    AttemptState,
    CallKind,
    CallState,
    ParkedEvent,
    ParkReason,
    PaymentAttempt,
    StripeCall,
    StripeCustomer,
    StripeDifference,
    StripeEvent,
)
from invoicing.models.tolerance import PaymentTolerance, ShortPayment

__all__ = [
    "MAIN_CODE",
    "MAIN_ENTITY",
    "MIRRORED",
    "PREPAID",
    "Anchor",
    "AttemptState",
    "AutoRecharge",
    "BalanceApplication",
    "BillingHold",
    "CallKind",
    "CallState",
    "ChangeKind",
    "Coupon",
    "CouponRedemption",
    "CreditNote",
    "CreditNoteDocument",
    "CreditNoteLine",
    "CreditNoteReason",
    "CreditNoteVoid",
    "CustomerAddress",
    "CustomerBalance",
    "CustomerEntity",
    "CustomerTaxId",
    "Dispute",
    "DisputeOutcome",
    "DraftRejection",
    "FeeKind",
    "HoldCause",
    "HostedLink",
    "Invoice",
    "InvoiceDocument",
    "InvoiceLine",
    "InvoiceMail",
    "InvoicePolicy",
    "InvoiceSplit",
    "InvoiceStatus",
    "InvoiceVoid",
    "ItemKind",
    "ItemTiming",
    "LegalEntity",
    "LegalEntityVersion",
    "LineDiscount",
    "LineKind",
    "LineOutcome",
    "LineUsage",
    "MarketGate",
    "MirroredUsage",
    "NumberSeries",
    "OpeningExplanation",
    "OpeningImport",
    "OpeningItem",
    "OpeningItemState",
    "OpeningState",
    "Outcome",
    "OutcomeDecision",
    "OutcomeState",
    "Overpayment",
    "ParkReason",
    "ParkedEvent",
    "Payment",
    "PaymentAttempt",
    "PaymentTolerance",
    "Plan",
    "PlanItem",
    "PlanVersion",
    "ProcessorFee",
    "ProposedCreditNote",
    "Recharge",
    "RechargeState",
    "Refund",
    "RefundFailure",
    "SeatChange",
    "ShortPayment",
    "SplitBy",
    "StripeCall",
    "StripeCustomer",
    "StripeDifference",
    "StripeEvent",
    "StripeMeter",
    "Subscription",
    "SubscriptionChange",
    "TaxRate",
    "TaxTreatment",
    "Verdict",
    "WriteOff",
]
