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
from credits.models.totals import RateTotal, WindowRating

__all__ = [
    "BillingPeriod",
    "CreditGrant",
    "CreditPolicy",
    "GrantCategory",
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
    "WindowRating",
]
