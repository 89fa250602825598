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
from revrec.models.progress import BooksMark, UsedCredits

__all__ = [
    "AccountingPeriod",
    "BooksMark",
    "EntrySource",
    "JournalEntry",
    "LedgerAccount",
    "ObligationKind",
    "PerformanceObligation",
    "PeriodStatus",
    "Posting",
    "RevenueSchedule",
    "RevenueScheduleLine",
    "UsedCredits",
]
