"""What was earned: obligations, schedules, and the general ledger."""

from revrec.models.allocation import AllocatedShare, ContractAllocation
from revrec.models.basis import BasisCause, GrantBasis
from revrec.models.close import CloseException
from revrec.models.disclosure import DisclosurePolicy
from revrec.models.estimate import BreakageEstimate, VariableEstimate
from revrec.models.exchange import ExchangeRate, ExchangeSheet
from revrec.models.export import AccountCode, AccountMap, JournalExport
from revrec.models.journal import (
    AccountingPeriod,
    EntrySource,
    JournalEntry,
    LedgerAccount,
    PeriodStatus,
    Posting,
)
from revrec.models.loss import LossEstimate
from revrec.models.modification import ContractModification, ModifiedLine
from revrec.models.obligation import (
    PREPAID_CREDITS,
    ObligationKind,
    PerformanceObligation,
    RevenueSchedule,
    RevenueScheduleLine,
)
from revrec.models.pack import AuditPack, PackState
from revrec.models.progress import BooksMark, UsedCredits
from revrec.models.recognition import (
    BadDebt,
    DisputeLoss,
    Granularity,
    Presentation,
    RecognitionPolicy,
)
from revrec.models.seal import LedgerSeal
from revrec.models.zone import BooksZone

__all__ = [
    "PREPAID_CREDITS",
    "AccountCode",
    "AccountMap",
    "AccountingPeriod",
    "AllocatedShare",
    "AuditPack",
    "BadDebt",
    "BasisCause",
    "BooksMark",
    "BooksZone",
    "BreakageEstimate",
    "CloseException",
    "ContractAllocation",
    "ContractModification",
    "DisclosurePolicy",
    "DisputeLoss",
    "EntrySource",
    "ExchangeRate",
    "ExchangeSheet",
    "GrantBasis",
    "Granularity",
    "JournalEntry",
    "JournalExport",
    "LedgerAccount",
    "LedgerSeal",
    "LossEstimate",
    "ModifiedLine",
    "ObligationKind",
    "PackState",
    "PerformanceObligation",
    "PeriodStatus",
    "Posting",
    "Presentation",
    "RecognitionPolicy",
    "RevenueSchedule",
    "RevenueScheduleLine",
    "UsedCredits",
    "VariableEstimate",
]
