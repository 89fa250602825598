"""Names of the facts that a journal entry may account for."""

from dataclasses import dataclass
from enum import StrEnum


class SourceType(StrEnum):
    """A kind of fact, named as its table."""

    INVOICE_LINE = "invoice_line"
    PAYMENT = "payment"
    CREDIT_NOTE = "credit_note"
    CREDIT_NOTE_VOID = "credit_note_void"
    INVOICE_VOID = "invoice_void"
    WRITE_OFF = "write_off"
    SHORT_PAYMENT = "short_payment"
    BALANCE_APPLICATION = "balance_application"
    REFUND = "refund"
    REFUND_FAILURE = "refund_failure"
    OVERPAYMENT = "overpayment"
    PROCESSOR_FEE = "processor_fee"
    DISPUTE = "dispute"
    DISPUTE_OUTCOME = "dispute_outcome"
    LEDGER_TRANSACTION = "ledger_transaction"
    RATED_USAGE = "rated_usage"
    SCHEDULE_LINE = "revenue_schedule_line"
    OUTCOME_DECISION = "outcome_decision"
    GRANT_BASIS = "grant_basis"
    CONTRACT_ALLOCATION = "contract_allocation"
    CONTRACT_MODIFICATION = "contract_modification"


# In which role each kind of fact is accounted for; once.
ROLES = {
    SourceType.INVOICE_LINE: "invoiced",
    SourceType.PAYMENT: "paid",
    SourceType.CREDIT_NOTE: "credited",
    SourceType.CREDIT_NOTE_VOID: "voided",
    SourceType.INVOICE_VOID: "voided",
    SourceType.WRITE_OFF: "written_off",
    SourceType.SHORT_PAYMENT: "accepted",
    SourceType.BALANCE_APPLICATION: "applied",
    SourceType.REFUND: "refunded",
    SourceType.REFUND_FAILURE: "returned",
    SourceType.OVERPAYMENT: "paid",
    SourceType.PROCESSOR_FEE: "kept",
    SourceType.DISPUTE: "opened",
    SourceType.DISPUTE_OUTCOME: "decided",
    SourceType.LEDGER_TRANSACTION: "recognised",
    SourceType.RATED_USAGE: "accrued",
    SourceType.SCHEDULE_LINE: "recognised",
    SourceType.OUTCOME_DECISION: "accrued",
    SourceType.GRANT_BASIS: "promised",
    SourceType.CONTRACT_ALLOCATION: "promised",
    SourceType.CONTRACT_MODIFICATION: "modified",
}


@dataclass(frozen=True)
class Source:
    """One fact."""

    type: SourceType
    id: int
    other_role: str = ""  # Where the fact has an entry beside the one that accounts for it.

    @property
    def role(self) -> str:
        """The role in which this kind of fact is accounted for."""
        return self.other_role or ROLES[self.type]
