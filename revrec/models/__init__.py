"""What was earned: obligations, schedules, and the general ledger."""

from revrec.models.journal import (
    AccountingPeriod,
    EntrySource,
    JournalEntry,
    LedgerAccount,
    PeriodStatus,
    Posting,
)
from revrec.models.obligation import (
    ObligationKind,
    PerformanceObligation,
    RevenueSchedule,
    RevenueScheduleLine,
)

__all__ = [
    "AccountingPeriod",
    "EntrySource",
    "JournalEntry",
    "LedgerAccount",
    "ObligationKind",
    "PerformanceObligation",
    "PeriodStatus",
    "Posting",
    "RevenueSchedule",
    "RevenueScheduleLine",
]
