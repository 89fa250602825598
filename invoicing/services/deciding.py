"""Issue the credit notes that a person approved, and close the proposals that came to nothing.

An approval is for one amount of one line, or for credits of one to grants that were named. What
happened since can only void it: a note is issued over just what was approved, or not at all.
"""

from datetime import datetime
from functools import partial

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict, Insufficient
from billing_project.kernel.models import PolicyStatus, User
from credits.services.rating import rate_customer
from invoicing.models import CreditNoteReason, ProposedCreditNote
from invoicing.models.proposal import ProposalCause, ProposalState
from invoicing.selectors import is_claimed, overage_state
from invoicing.selectors.proposals import (
    credits_due,
    is_as_shown,
    is_overcharge,
    open_proposals,
)
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.proposals import close_proposal
from metering.services.customers import lock_customer

_REASONS: dict[str, str] = {
    ProposalCause.OVERCHARGE: CreditNoteReason.BILLING_ERROR,
    ProposalCause.LATE_USAGE: CreditNoteReason.GOODWILL,
}


def settle_proposals(*, by: User, at: datetime) -> int:
    """Issue the notes that were approved, and close what was refused; return how many."""
    decided = open_proposals().exclude(policy_change__status=PolicyStatus.SUBMITTED)
    return each_apart(decided.order_by("id"), partial(_settle, by=by, at=at), step="issue_notes")


@transaction.atomic
def _settle(proposal: ProposedCreditNote, by: User, at: datetime) -> int:
    invoice = proposal.invoice_line.invoice
    lock_customer(invoice.customer_id)
    row = open_proposals().filter(pk=proposal.pk).first()
    if row is None or row.policy_change.status == PolicyStatus.SUBMITTED:
        return 0  # Another worker settled it meanwhile.
    if row.policy_change.status != PolicyStatus.APPROVED or not _still_owed(row, by, at):
        _close(row, "", by, at)
        return 1
    if row.restored_credits and not is_as_shown(row, at):
        _close(row, "by now it would not give the same credits back to the same grants", by, at)
        return 1
    try:
        with transaction.atomic():
            _issue(row, by, at)
    except (Conflict, Insufficient) as error:  # Granted, disputed, ended: asking again is no use.
        _close(row, str(error), by, at)
    return 1


def _close(row: ProposedCreditNote, why: str, by: User, at: datetime) -> None:
    close_proposal(row, at)
    audit.record(
        by=by, at=at, action="close_proposed_credit_note", subject=row,
        reason=f"{row.policy_change.status}, and not issued{': ' if why else ''}{why}"[:500],
    )  # fmt: skip


def _still_owed(row: ProposedCreditNote, by: User, at: datetime) -> bool:
    """Tell whether the line still has what was approved, and the overcharge reaches it."""
    line = row.invoice_line
    rate_customer(customer_id=line.invoice.customer_id, by=by, at=at)
    if not is_claimed(line.invoice) or line.amount_minor - line.credited_minor < row.amount_minor:
        return False
    if not is_overcharge(row) or line.billing_period is None:
        return True
    return credits_due(overage_state(line.billing_period)).get(line.pk, 0) >= row.amount_minor


def _issue(row: ProposedCreditNote, by: User, at: datetime) -> None:
    change = row.policy_change
    note = issue_credit_note(
        invoice=row.invoice_line.invoice,
        lines=[(row.invoice_line, row.amount_minor)] if row.amount_minor else [],
        restored=[(row.invoice_line, row.restored_credits)] if row.restored_credits else [],
        reason=_REASONS.get(row.cause) or str(row.facts["reason"]),
        memo=f"{row.facts['words']} Approved by {change.decided_by}: {change.decision_reason}",
        key=f"proposed_credit_note:{row.pk}",
        by=by,
        at=at,
    )
    row.state, row.credit_note, row.closed_at = ProposalState.ISSUED, note, at
    row.save(update_fields=["state", "credit_note", "closed_at"])
