"""Give back the shortfall of a commit that usage made up for after it was invoiced."""

from datetime import datetime

from billing_project.kernel.users import worker_user
from credits.models import BillingPeriod
from invoicing.models import CreditNote, CreditNoteReason
from invoicing.selectors import is_claimed, shortfall_overclaimed
from invoicing.services.credit_notes import issue_credit_note, undisputed


def give_back_shortfall(billing_period: BillingPeriod, at: datetime) -> list[CreditNote]:
    """Credit what late usage made up for; call it once an invoice for that usage is issued.

    Of a term are due max(commit, what counts), however late a part of it is known: what was
    claimed as missing goes back as far as it is not missing any more, the newest line first. It
    follows from the plan's approved terms, so that the worker does it and nobody is asked. What is
    disputed waits: call it again once the dispute is won.
    """
    left, lines = shortfall_overclaimed(billing_period)
    notes = []
    for line in sorted(lines, key=lambda line: -line.pk):
        amount_minor = min(left, line.amount_minor - line.credited_minor)
        if amount_minor <= 0 or not is_claimed(line.invoice):
            continue
        left -= amount_minor
        lines_back = undisputed(line.invoice, [(line, amount_minor)])
        if not lines_back:
            continue
        note = issue_credit_note(
            invoice=line.invoice,
            lines=lines_back,
            reason=CreditNoteReason.BILLING_ERROR,
            memo="usage that was known later counts toward the commit",
            key=f"invoice_line:{line.pk}:made_up:{line.credited_minor}+{lines_back[0][1]}",
            by=worker_user(),
            at=at,
        )
        notes.append(note)
    return notes
