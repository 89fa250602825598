"""Reject a held draft: it is never issued, and what it claimed has an end that is written down."""

from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from invoicing.models import BillingHold, DraftRejection, HoldCause, Invoice
from invoicing.selectors import is_issued
from invoicing.services.drafts import clear_lines
from invoicing.services.holds import end_hold, hold, refuse_bad_reason
from invoicing.services.locks import lock_invoice, require_permission
from invoicing.services.overage import billing_period_of, is_overage


@transaction.atomic
def reject_draft(*, held: BillingHold, reason: str, by: User, at: datetime) -> DraftRejection:
    """Take everything off a held draft instead of letting it go; the same again is the same row.

    Fees, seats and packs on it are given up. Usage is not: its period is held with the reason
    until somebody releases it, and is then drafted anew. What is wrong about it is corrected
    meanwhile, where it was recorded.

    Raises:
        NotAllowed: a person who may not approve invoices.
        Invalid: no reason.
        Conflict: no draft is held, or it was released, or rejected for another reason.
    """
    require_permission(by, "invoicing.approve_invoice", "reject drafts")
    refuse_bad_reason(reason)
    if held.invoice is None:
        raise Conflict("no draft is held: release it once what it waits for is mended")
    draft = lock_invoice(held.invoice)
    locked = BillingHold.objects.select_for_update(no_key=True).get(pk=held.pk)
    before = DraftRejection.objects.filter(hold=locked).first()
    if before is not None and (before.rejected_by_id, before.reason) == (by.pk, reason):
        return before
    if locked.released_at is not None or is_issued(draft):
        raise Conflict(f"{locked} was ended by {locked.released_by} already")
    row = DraftRejection.objects.create(
        hold=locked, total_minor=draft.total_minor, currency=draft.currency, reason=reason,
        rejected_by=by, rejected_at=at,
    )  # fmt: skip
    end_hold(locked, reason, by, at)
    clear_lines(draft)
    if is_overage(draft):
        _hold_usage(draft, reason, by, at)
    audit.record(
        by=by, at=at, action="reject_draft", subject=draft, reason=reason,
        total_minor=row.total_minor, currency=row.currency,
    )  # fmt: skip
    return row


def _hold_usage(draft: Invoice, reason: str, by: User, at: datetime) -> None:
    """Let the period's usage wait, with the reason, where its completeness shows it."""
    hold(
        customer_id=draft.customer_id, subject=f"billing_period:{billing_period_of(draft).pk}",
        cause=HoldCause.REJECTED, detail=f"its draft was rejected: {reason}", by=by, at=at,
    )  # fmt: skip
