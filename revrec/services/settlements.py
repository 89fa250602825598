"""Account for what settles besides payments: balances, refunds, short payments."""

from invoicing.models import BalanceApplication, Refund, RefundFailure, ShortPayment
from revrec.posting import About, EntryKind, balance_applied, refunded, short_payment_accepted
from revrec.selectors.facts import (
    unaccounted_applications,
    unaccounted_failures,
    unaccounted_refunds,
    unaccounted_short_payments,
)
from revrec.services.drafts import Run
from revrec.services.journal import EntryDraft, post_entries
from revrec.sources import Source, SourceType


def account_settlements(run: Run) -> int:
    """Post what moved the customer balance after notes; return the entries posted.

    The notes that put something there must have been accounted for before.
    """
    drafts = [
        *(_refund(run, row) for row in unaccounted_refunds(run.customer_id)),
        *(_failure(run, row) for row in unaccounted_failures(run.customer_id)),
        *(_application(run, row) for row in unaccounted_applications(run.customer_id)),
        *(_short_payment(run, row) for row in unaccounted_short_payments(run.customer_id)),
    ]
    return len(post_entries(drafts=drafts, by=run.by, at=run.at))


def _application(run: Run, row: BalanceApplication) -> EntryDraft:
    return EntryDraft(
        wanted_on=run.day_of(row.applied_at),
        kind=EntryKind.BALANCE_APPLIED,
        description=f"Customer balance applied to invoice {row.invoice.number}",
        customer_id=run.customer_id,
        lines=balance_applied(row.amount_minor, About(row.currency)),
        source_key=f"balance_application:{row.pk}:applied",
        sources=(Source(SourceType.BALANCE_APPLICATION, row.pk),),
    )


def _short_payment(run: Run, row: ShortPayment) -> EntryDraft:
    return EntryDraft(
        wanted_on=run.day_of(row.accepted_at),
        kind=EntryKind.SHORT_PAYMENT_ACCEPTED,
        description=f"Short payment of invoice {row.invoice.number}",
        customer_id=run.customer_id,
        lines=short_payment_accepted(row.amount_minor, About(row.currency)),
        source_key=f"short_payment:{row.pk}:accepted",
        sources=(Source(SourceType.SHORT_PAYMENT, row.pk),),
    )


def _refund(run: Run, refund: Refund) -> EntryDraft:
    return EntryDraft(
        wanted_on=run.day_of(refund.refunded_at),
        kind=EntryKind.REFUND_RECORDED,
        description=f"Refund {_of(refund)}",
        customer_id=run.customer_id,
        lines=refunded(refund.amount_minor, About(refund.currency)),
        source_key=f"refund:{refund.pk}:recorded",
        sources=(Source(SourceType.REFUND, refund.pk),),
    )


def _failure(run: Run, failure: RefundFailure) -> EntryDraft:
    refund = failure.refund
    return EntryDraft(
        wanted_on=run.day_of(failure.failed_at),
        kind=EntryKind.REFUND_FAILED,
        description=f"Failed refund {_of(refund)}",
        customer_id=run.customer_id,
        lines=refunded(-refund.amount_minor, About(refund.currency)),
        source_key=f"refund_failure:{failure.pk}:recorded",
        sources=(Source(SourceType.REFUND_FAILURE, failure.pk),),
    )


def _of(refund: Refund) -> str:
    note = refund.credit_note
    return f"for credit note {note.number}" if note else "of the customer balance"
