"""What usage costs in credits, and the ledger of credits: never tokens, and money only as cost."""

from credits.models.grant import (
    CreditGrant,
    CreditPolicy,
    GrantCategory,
    LedgerKind,
    LedgerTransaction,
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
from credits.models.supplier import SupplierRate, TokenKindChoice
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
    "BillingPeriod",
    "ClawBack",
    "ClawBackReason",
    "CreditGrant",
    "CreditPolicy",
    "GrantCategory",
    "GrantTerms",
    "LedgerKind",
    "LedgerTransaction",
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
    "SupplierRate",
    "TokenKindChoice",
    "UnratedEpisode",
    "WindowRating",
]
