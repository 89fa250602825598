"""End issued claims that are not paid: void them as if never made, or write them off.

A void needs a claim that nothing settled yet; what was settled in part is credited. What a period's
end claimed is drafted again, once, by an invoice that refers to the void one: at once, or by the
next run. A write-off gives up what is open, and what
comes nevertheless is a recovery (`record_payment`).
"""

from datetime import datetime, timedelta

from django.db import transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from billing_project.kernel.period import Period
from invoicing.models import Invoice, InvoiceStatus, InvoiceVoid, WriteOff
from invoicing.selectors import is_issued, plan_version_at, refuse_ended
from invoicing.selectors.replacing import replacement_of
from invoicing.services.announcing import announce_voided
from invoicing.services.drafts import Draft, copy_lines, create_draft
from invoicing.services.locks import lock_invoice, require_permission
from invoicing.services.openings import claim_served
from invoicing.services.overage import draft_again, is_overage

_LONGEST_REASON = 500
_GRACE_HOURS = 24  # Of a copy without a plan: time to look at it.


@transaction.atomic
def void_invoice(*, invoice: Invoice, reason: str, by: User, at: datetime) -> InvoiceVoid:
    """Take an issued invoice back whole; the same again returns the same row.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no reason, or one that is too long.
        IdempotencyConflict: it was voided for another reason.
        Conflict: a draft, an invoice without anything to claim, one that was settled in part, or
            one that was written off.
    """
    require_permission(by, "invoicing.void_invoice", "void invoices")
    _refuse_bad_reason(reason)
    locked = lock_invoice(invoice)
    before = InvoiceVoid.objects.filter(invoice=locked).first()
    if before is not None:
        _refuse_other_reason(locked, before.reason, reason)
        return before
    _refuse_settled(locked)
    row = InvoiceVoid.objects.create(invoice=locked, reason=reason, voided_by=by, voided_at=at)
    outbox.publish("money_changed", [locked.customer_id], at)
    audit.record(
        by=by, at=at, action="void_invoice", subject=row, reason=reason, invoice=locked.number,
        total_minor=locked.total_minor, currency=locked.currency,
    )  # fmt: skip
    announce_voided(locked, reason, at)
    return row


@transaction.atomic
def void_and_regenerate(*, invoice: Invoice, reason: str, by: User, at: datetime) -> Invoice:
    """Void an invoice and draft what it claimed anew; return the draft that claims it.

    Overage is rebuilt from usage as it is now; other lines are copied. The same again returns the
    same draft, issued or not; where it was cut by workspace when it was issued, the part with the
    usage of the void one.

    Raises:
        NotAllowed, Invalid, IdempotencyConflict, Conflict: as for `void_invoice`.
    """
    row = void_invoice(invoice=invoice, reason=reason, by=by, at=at)
    locked = lock_invoice(row.invoice)
    before = replacement_of(locked)
    if before is not None and (is_issued(before) or before.replaces is not None):
        return before
    draft = draft_again(locked, at) if is_overage(locked) else _copy(locked, at)
    audit.record(
        by=by, at=at, action="regenerate_invoice", subject=draft, replaces=locked.number,
        total_minor=draft.total_minor,
    )  # fmt: skip
    return draft


@transaction.atomic
def write_off_invoice(*, invoice: Invoice, reason: str, by: User, at: datetime) -> WriteOff:
    """Give up what an issued invoice still owes; the same again returns the same row.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no reason, or one that is too long.
        IdempotencyConflict: it was written off for another reason.
        Conflict: a draft, or an invoice that owes nothing.
    """
    require_permission(by, "invoicing.write_off_invoice", "write off invoices")
    _refuse_bad_reason(reason)
    locked = lock_invoice(invoice)
    before = WriteOff.objects.filter(invoice=locked).first()
    if before is not None:
        _refuse_other_reason(locked, before.reason, reason)
        return before
    _refuse_unowed(locked)
    row = WriteOff.objects.create(
        invoice=locked,
        amount_minor=locked.open_minor,
        currency=locked.currency,
        reason=reason,
        written_off_by=by,
        written_off_at=at,
    )
    outbox.publish("money_changed", [locked.customer_id], at)
    audit.record(
        by=by, at=at, action="write_off_invoice", subject=row, reason=reason,
        invoice=locked.number, amount_minor=row.amount_minor, currency=row.currency,
    )  # fmt: skip
    return row


def _copy(void: Invoice, at: datetime) -> Invoice:
    """Draft the same lines again, under a key of their own, for the days that were served."""
    sold = void.subscription
    terms = plan_version_at(sold, void.service_start_at) if sold else None
    grace = timedelta(hours=terms.grace_hours if terms else _GRACE_HOURS)
    draft = create_draft(
        Draft(
            customer=void.customer,
            subscription=void.subscription,
            currency=void.currency,
            service=Period(void.service_start_at, void.service_end_at),
            ready_at=at + grace,
            source_key=f"invoice:{void.pk}:again",
            replaces=void,
        ),
        at,
    )
    copy_lines(void, draft)
    claim_served(draft, at)
    draft.refresh_from_db()
    return draft


def _refuse_bad_reason(reason: str) -> None:
    if not 0 < len(reason.strip()) <= _LONGEST_REASON:
        raise Invalid(f"this needs a reason of up to {_LONGEST_REASON} characters", field="reason")


def _refuse_other_reason(invoice: Invoice, before: str, reason: str) -> None:
    if before != reason:
        raise IdempotencyConflict(f"{invoice} ended before, for this reason: {before}")


def _refuse_unowed(invoice: Invoice) -> None:
    if not is_issued(invoice):
        raise Conflict("a draft is not owed yet: it can still change")
    refuse_ended(invoice)
    if invoice.status != InvoiceStatus.FINALIZED:
        raise Conflict(f"{invoice} has nothing open")


def _refuse_settled(invoice: Invoice) -> None:
    _refuse_unowed(invoice)
    if settled := invoice.total_minor - invoice.open_minor:
        amount = Money(settled, invoice.currency)
        raise Conflict(f"{amount} of {invoice} is settled already: credit it instead")
    if note := invoice.credit_notes.filter(void=None).order_by("id").first():
        raise Conflict(f"{note} gave credits of {invoice} back: void the note first")
