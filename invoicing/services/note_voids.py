"""Void credit notes: the invoice claims again what the note took off it.

Possible as long as nothing went back to the customer as money for the note, and its share of their
balance is still there. A note that a change of the subscription issued is undone with the change.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import (
    Conflict,
    IdempotencyConflict,
    Insufficient,
    Invalid,
    NotAllowed,
)
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from invoicing.approval import is_above_note_limit
from invoicing.models import PREPAID, CreditNote, CreditNoteVoid, InvoiceStatus, WriteOff
from invoicing.selectors import balance_in, grants_of_line
from invoicing.selectors.changes import SEAT_NOTES
from invoicing.selectors.holds import limits_at
from invoicing.selectors.restoring import as_money, credits_restored, worth_with
from invoicing.services.locks import lock_invoice, require_permission
from invoicing.services.restoring import refuse_used, take_credits_again

_LONGEST_REASON = 500
_BY_CHANGES = (":unused:", ":made_up:")


@dataclass(frozen=True)
class NoteVoidPreview:
    """What a void would do: what is owed again, and what leaves the customer's balance."""

    claimed: Money
    from_balance: Money
    refund_dropped: Money  # Was promised and not made.
    taken_again: Decimal  # Credits that it gave back.


@transaction.atomic
def void_credit_note(
    *, credit_note: CreditNote, reason: str, by: User, at: datetime
) -> CreditNoteVoid:
    """Take a note back whole; the same again returns the same row.

    Above the limit that the policy sets for notes, somebody else than who issued it voids it, with
    the permission to approve invoices.

    Raises:
        NotAllowed: a person without the permission, or above the limit.
        Invalid: no reason, or one that is too long.
        IdempotencyConflict: it was voided for another reason.
        Conflict: money went back for it, its invoice has ended or was written off, a change of the
            subscription issued it, credits were granted as it left them, or what it gave back was
            used since; the message says what to do.
        Insufficient: the balance has less than the note left there; the message says how much.
    """
    require_permission(by, "invoicing.void_creditnote", "void credit notes")
    if not 0 < len(reason.strip()) <= _LONGEST_REASON:
        raise Invalid(f"a void has a reason of up to {_LONGEST_REASON} characters", field="reason")
    lock_invoice(credit_note.invoice)
    before = CreditNoteVoid.objects.filter(credit_note=credit_note).first()
    if before is not None:
        if before.reason != reason:
            raise IdempotencyConflict(f"{credit_note} was voided before: {before.reason}")
        return before
    _refuse_one_pair_of_eyes(credit_note, by, at)
    note = CreditNote.objects.select_related("invoice").get(pk=credit_note.pk)
    refuse_standing(note, at)
    take_credits_again(note, by, at)
    row = CreditNoteVoid.objects.create(credit_note=note, reason=reason, voided_by=by, voided_at=at)
    outbox.publish("money_changed", [note.invoice.customer_id], at)
    audit.record(
        by=by, at=at, action="void_credit_note", subject=row, reason=reason, number=note.number,
        total_minor=note.total_minor, currency=note.currency,
    )  # fmt: skip
    return row


def preview_note_void(note: CreditNote, at: datetime) -> NoteVoidPreview:
    """Show what a void would do; raises what voiding would."""
    refuse_standing(note, at)
    return NoteVoidPreview(
        Money(note.open_minor, note.currency),
        Money(note.balance_minor, note.currency),
        Money(note.refund_minor, note.currency),
        note.restored_credits,
    )


def refuse_standing(note: CreditNote, at: datetime) -> None:
    """Refuse a note that has to stand, and say what to do in its place.

    Raises:
        Conflict, Insufficient: as for `void_credit_note`.
    """
    if note.source_key.startswith(SEAT_NOTES) or any(
        part in note.source_key for part in _BY_CHANGES
    ):
        raise Conflict(f"a change of the subscription issued {note}: undo the change, not the note")
    _refuse_given_back(note)
    if note.invoice.status not in (InvoiceStatus.FINALIZED, InvoiceStatus.PAID):
        raise Conflict(f"{note.invoice} is {note.invoice.status}: it claims nothing again")
    if WriteOff.objects.filter(invoice=note.invoice_id).exists():
        raise Conflict(f"{note.invoice} was written off: {note} stays. Claim by a new invoice")
    _refuse_granted(note)
    refuse_used(note, at)
    has = balance_in(note.invoice.customer_id, note.currency)
    if note.balance_minor > has:
        left, wanted = Money(has, note.currency), Money(note.balance_minor, note.currency)
        raise Insufficient(
            f"{note} left {wanted} on the customer's balance, and {left} is there: the rest paid"
            " invoices or was refunded. Credit those invoices first"
        )


def _refuse_one_pair_of_eyes(note: CreditNote, by: User, at: datetime) -> None:
    limits = limits_at(at)
    worth = as_money(worth_with(note.currency, note.total_minor, credits_restored(note)))
    if by.is_service or not any(is_above_note_limit(total, limits) for total in worth):
        return
    if not by.has_perm("invoicing.approve_invoice") or by.pk == note.issued_by_id:
        raise NotAllowed(f"{note} is above the limit: an approver voids it who did not issue it")


def _refuse_given_back(note: CreditNote) -> None:
    refund = note.refunds.order_by("id").first()
    if refund is not None:
        sent = Money(refund.amount_minor, refund.currency)
        raise Conflict(
            f"{sent} was refunded for {note} ({refund.reference}): it stays. Claim what it gave"
            " away by a new invoice"
        )
    if note.out_of_band_minor:
        raise Conflict(
            f"{note} says that money was given back already: it stays. Claim it by a new invoice"
        )


def _refuse_granted(note: CreditNote) -> None:
    """Refuse where credits were granted by what the note left: they would be unpaid, or too few."""
    packs = note.invoice.lines.filter(kind__in=PREPAID)
    noted = set(note.lines.values_list("invoice_line_id", flat=True))
    for line in packs:
        if (note.open_minor or line.pk in noted) and grants_of_line(line).exists():
            raise Conflict(
                f"line {line.position} of {note.invoice} granted its credits as {note} left them:"
                " it stays. Sell what is missing as another pack"
            )
