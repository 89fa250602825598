"""What usage costs in credits, and the ledger of credits: never tokens, and money only as cost."""

from credits.models.alert import Alert, AlertKind
from credits.models.alert_rule import OF_CUSTOMERS, OF_WAITING, AlertRule, RuleWindow, Watched
from credits.models.anomaly import (
    Anomaly,
    AnomalyPattern,
    Feedback,
    PlannedActivity,
    SpendHour,
    SpendMark,
)
from credits.models.control import (
    ControlPolicy,
    LimitMode,
    LimitWindow,
    ModelException,
    OverdraftMode,
    SpendLimit,
)
from credits.models.grant import (
    CreditGrant,
    CreditPolicy,
    GrantCategory,
    LedgerKind,
    LedgerTransaction,
)
from credits.models.hold import Authorization, Hold, HoldState, SpendCounter
from credits.models.incident import (
    ControlCheckpoint,
    Incident,
    IncidentAction,
    IncidentEvidence,
    IncidentState,
)
from credits.models.rate import (
    Pools,
    PricingModel,
    PricingUnit,
    Rate,
    RateCard,
    RateCardVersion,
    RatePin,
)
from credits.models.rated import BillingPeriod, RatedUsage
from credits.models.supplier import SupplierRate, SupplierSheet, TokenKindChoice
from credits.models.supplier_bill import SupplierBill, SupplierBillComparison, SupplierBillLine
from credits.models.terms import (
    ClawBack,
    ClawBackReason,
    GrantTerms,
    RecurringGrant,
    RecurringUnit,
    RefundRule,
    Rollover,
)
from credits.models.totals import RateTotal, WindowRating
from credits.models.waiting import UnratedEpisode

__all__ = [
    "OF_CUSTOMERS",
    "OF_WAITING",
    "Alert",
    "AlertKind",
    "AlertRule",
    "Anomaly",
    "AnomalyPattern",
    "Authorization",
    "BillingPeriod",
    "ClawBack",
    "ClawBackReason",
    "ControlCheckpoint",
    "ControlPolicy",
    "CreditGrant",
    "CreditPolicy",
    "Feedback",
    "GrantCategory",
    "GrantTerms",
    "Hold",
    "HoldState",
    "Incident",
    "IncidentAction",
    "IncidentEvidence",
    "IncidentState",
    "LedgerKind",
    "LedgerTransaction",
    "LimitMode",
    "LimitWindow",
    "ModelException",
    "OverdraftMode",
    "PlannedActivity",
    "Pools",
    "PricingModel",
    "PricingUnit",
    "Rate",
    "RateCard",
    "RateCardVersion",
    "RatePin",
    "RateTotal",
    "RatedUsage",
    "RecurringGrant",
    "RecurringUnit",
    "RefundRule",
    "Rollover",
    "RuleWindow",
    "SpendCounter",
    "SpendHour",
    "SpendLimit",
    "SpendMark",
    "SupplierBill",
    "SupplierBillComparison",
    "SupplierBillLine",
    "SupplierRate",
    "SupplierSheet",
    "TokenKindChoice",
    "UnratedEpisode",
    "Watched",
    "WindowRating",
]
