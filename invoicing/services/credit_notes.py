"""Credit finalized invoices: what is still owed first; what was paid goes back as it is wanted."""

from collections import Counter
from collections.abc import Iterable, Sequence
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
from billing_project.kernel.quantity import plain
from credits.selectors.taken import why_not_taken_back
from credits.services.rating import rate_customer
from invoicing.approval import for_finance
from invoicing.claims import Evened
from invoicing.crediting import (
    CreditRefused,
    Settlement,
    SettlementRefused,
    Split,
    credit,
    settled,
    up_to,
)
from invoicing.models import (
    CreditNote,
    CreditNoteLine,
    CreditNoteReason,
    Invoice,
    InvoiceLine,
    LineKind,
)
from invoicing.selectors import (
    creditable_minor,
    disputed_minor,
    find_note_of,
    grants_of_line,
    is_issued,
    lines_left,
    never_paid_minor,
    overage_state,
    paid_of,
    refuse_not_kept,
    refuse_void,
)
from invoicing.selectors.holds import limits_at
from invoicing.selectors.restoring import (
    Restored,
    RestoredTo,
    as_money,
    credits_restored,
    credits_to_restore,
    total_of,
    worth_with,
)
from invoicing.services.announcing import announce_note
from invoicing.services.granting import issue_pack_grants
from invoicing.services.locks import (
    CREDIT_NOTE_SERIES,
    lock_invoice,
    may_decide_notes,
    require_permission,
    take_number,
)
from invoicing.services.restoring import restore_credits

_LONGEST_KEY = 120
Asked = Sequence[tuple[InvoiceLine, int]]


@dataclass(frozen=True)
class CreditNotePreview:
    """What a note would do; nothing of it is stored."""

    invoice: Invoice
    split: Split
    evened_minor: int  # Takes back an overcharge, by what is rated so far.
    restored: tuple[RestoredTo, ...] = ()

    @property
    def returnable_minor(self) -> int:
        """What of it may go back as money, refunded or out of band."""
        return min(self.split.back.total_minor, paid_of(self.invoice).left_minor)


@dataclass(frozen=True)
class Said:
    """What stands on a note besides its amounts."""

    reason: str
    memo: str
    key: str
    restored_credits: Decimal


@transaction.atomic
def issue_credit_note(
    *,
    invoice: Invoice,
    lines: Asked,
    reason: str,
    memo: str,
    key: str,
    by: User,
    at: datetime,
    settlement: Settlement | None = None,
    restored: Restored = (),
) -> CreditNote:
    """Take amounts off the lines of a finalized invoice, by a numbered document.

    Off overage, a note first takes back what was claimed beyond the usage, corrections that wait
    included; the rest is a concession. A pack whose rest is taken off is granted. Credits that are
    stated as used go back to the grants that paid, the newest burn first.

    Args:
        lines: Invoice lines with minor units > 0, net of tax, each line once; the tax goes along.
        reason: One of CreditNoteReason; it decides how revenue follows.
        key: The caller's idempotency key; the same again returns the same note.
        settlement: How what was paid goes back, all of it; None: to the customer's balance.
        restored: Lines of credits used, each once, with credits > 0 to give back.

    Raises:
        NotAllowed: a person without the permission, or above the limit of person or key.
        Invalid: an unknown reason, a line of another invoice, a bad key.
        IdempotencyConflict: the key credited something else before.
        Conflict: the invoice is a draft or void, or a pack's credits were granted already.
        Insufficient: more than is left of a line, or than grants paid, or another settlement than
            was paid; the message says how much is.
    """
    require_permission(by, "invoicing.issue_creditnote", "issue credit notes")
    _refuse_unreadable(reason, key)
    locked = _locked(invoice, restored, by, at)
    before = find_note_of(key)
    if before is not None:
        return _same_note(before, locked, (lines, restored), reason, settlement)
    split = _split(locked, lines, settlement, restored)
    _refuse_above_limits(locked, split, credits_to_restore(restored, at), by, at)
    evened = _evened_by_now(lines, by, at)
    said = Said(reason, memo, key, total_of(restored))
    note = _write(locked, split, said, by, at)
    _write_lines(note, lines, restored, evened)
    restore_credits(note, by, at)
    locked.refresh_from_db(fields=["status", "open_minor", "written_off_minor", "credited_minor"])
    issue_pack_grants(invoice=locked, effective_at=at, by=by, at=at)
    _tell(note, evened, at)
    return note


def _locked(invoice: Invoice, restored: Restored, by: User, at: datetime) -> Invoice:
    """Lock an invoice; what waits to be corrected decides whose credits come back: it is rated."""
    locked = lock_invoice(invoice)
    if restored:
        rate_customer(customer_id=locked.customer_id, by=by, at=at)
    return locked


def _refuse_above_limits(
    invoice: Invoice, split: Split, restored: Iterable[RestoredTo], by: User, at: datetime
) -> None:
    """Refuse a note above the limit that the policy sets for support, and keys like it.

    Money and what was paid for credits are judged together, currency by currency, and with what
    was taken off the same invoice before under the limit.

    Raises:
        NotAllowed: the message says to propose it.
    """
    limits = limits_at(at)
    if may_decide_notes(by) or (by.is_service and limits.notes_above is None):
        return  # A key is bounded once somebody has stated limits.
    before = _taken_by_support(invoice)
    for total in as_money(worth_with(invoice.currency, split.total_minor, restored)):
        if total.amount_minor and (
            why := for_finance(total, limits, before.get(total.currency, 0))
        ):
            raise NotAllowed(why)


def _taken_by_support(invoice: Invoice) -> dict[str, int]:
    """Sum what standing notes of those whom the limit binds took off an invoice, by currency."""
    sums: Counter[str] = Counter()
    for note in invoice.credit_notes.filter(void=None).select_related("issued_by"):
        if not may_decide_notes(note.issued_by):
            sums.update(worth_with(note.currency, note.total_minor, credits_restored(note)))
    return sums


def preview_credit_note(
    *,
    invoice: Invoice,
    lines: Asked,
    at: datetime,
    settlement: Settlement | None = None,
    restored: Restored = (),
) -> CreditNotePreview:
    """Show what a note would take off and how it would settle; raises what issuing would."""
    split = _split(invoice, lines, settlement, restored)
    evened_minor = sum(part.minor for part in _evened(lines).values())
    return CreditNotePreview(invoice, split, evened_minor, tuple(credits_to_restore(restored, at)))


def _split(
    invoice: Invoice, lines: Asked, settlement: Settlement | None, restored: Restored
) -> Split:
    """Check what is asked against what is left, and split it: what is open first."""
    if not is_issued(invoice):
        raise Conflict("a draft is not credited: it can still change")
    refuse_void(invoice)
    if any(line.invoice_id != invoice.pk for line, _ in [*lines, *restored]):
        raise Invalid(f"a credit note takes off lines of {invoice.number} only")
    _refuse_granted_packs(lines)
    asked = [(line.position, amount_minor) for line, amount_minor in lines]
    try:
        if restored and not lines:
            nothing = Money(0, invoice.currency)
            return Split(0, settled(nothing, paid_of(invoice), settlement))
        # Never both: what is owed, or was given up, is taken off before what was paid.
        still = Money(invoice.open_minor + invoice.written_off_minor, invoice.currency)
        split = credit(lines_left(invoice), asked, still, paid_of(invoice), settlement)
    except SettlementRefused as error:
        raise Insufficient(str(error), field="settlement") from error
    except CreditRefused as error:
        raise Insufficient(str(error)) from error
    refuse_not_kept(invoice, split.total_minor)
    return split


def undisputed(invoice: Invoice, lines: Asked) -> list[tuple[InvoiceLine, int]]:
    """Shorten what goes back by itself to what no bank took back, and what came at all.

    A change of what a customer has is not held up by a dispute over what they paid: that waits for
    its verdict.
    """
    if not (disputed_minor(invoice) or never_paid_minor(invoice)):
        return list(lines)
    asked = [(line.position, amount_minor) for line, amount_minor in lines]
    kept = dict(up_to(lines_left(invoice), asked, creditable_minor(invoice)))
    return [(line, kept[line.position]) for line, _ in lines if line.position in kept]


def _evened_by_now(lines: Asked, by: User, at: datetime) -> dict[int, Evened]:
    """Rate the corrections that wait before it is decided what takes back an overcharge."""
    for customer_id in {
        line.invoice.customer_id for line, _ in lines if line.kind == LineKind.OVERAGE
    }:
        rate_customer(customer_id=customer_id, by=by, at=at)
    return _evened(lines)


def _evened(lines: Asked) -> dict[int, Evened]:
    """Decide by line what takes back an overcharge; an invoice has one overage line at most."""
    return {
        line.pk: overage_state(line.billing_period).even_out(amount_minor)
        for line, amount_minor in lines
        if line.kind == LineKind.OVERAGE and line.billing_period is not None
    }


def _refuse_granted_packs(lines: Asked) -> None:
    """Refuse to take back money for credits that the customer still has, or has used.

    Credits that went on to linked grants, or came back to a voided one, are the same purchase.
    """
    for line, _ in lines:
        grant = grants_of_line(line).first()
        if grant is not None and (why := why_not_taken_back(grant)):
            raise Conflict(f"line {line.position} sold credits that were granted already: {why}")


def _refuse_unreadable(reason: str, key: str) -> None:
    if reason not in CreditNoteReason.values:
        raise Invalid(f"a credit note's reason is one of {', '.join(CreditNoteReason.values)}")
    if not 0 < len(key) <= _LONGEST_KEY:
        raise Invalid(f"a credit note's key has 1 to {_LONGEST_KEY} characters")


def _same_note(
    note: CreditNote,
    invoice: Invoice,
    asked: tuple[Asked, Restored],
    reason: str,
    settlement: Settlement | None,
) -> CreditNote:
    wanted = {(line.pk, amount) for lines in asked for line, amount in lines}
    rows = note.lines.values_list("invoice_line_id", "amount_minor", "restored_credits")
    before = {(pk, minor or credits_) for pk, minor, credits_ in rows}
    back = Settlement(note.refund_minor, note.balance_minor, note.out_of_band_minor)
    same_way = back == (settlement or Settlement(balance_minor=back.total_minor))
    if not same_way or (note.invoice_id, note.reason, before) != (invoice.pk, reason, wanted):
        raise IdempotencyConflict("this key issued another credit note before")
    return note


def _write(invoice: Invoice, split: Split, said: Said, by: User, at: datetime) -> CreditNote:
    sequence, number = take_number(CREDIT_NOTE_SERIES, invoice.entity_id)
    return CreditNote.objects.create(
        invoice=invoice,
        entity_id=invoice.entity_id,
        number=number,
        sequence=sequence,
        reason=said.reason,
        memo=said.memo,
        currency=invoice.currency,
        total_minor=split.total_minor,
        tax_minor=split.tax_minor,
        open_minor=split.open_minor,
        balance_minor=split.back.balance_minor,
        refund_minor=split.back.refund_minor,
        out_of_band_minor=split.back.out_of_band_minor,
        issued_by=by,
        issued_at=at,
        restored_credits=said.restored_credits,
        source_key=said.key,
    )


def _tell(note: CreditNote, evened: dict[int, Evened], at: datetime) -> None:
    """Note in the outbox that money changed, and keep who issued what."""
    outbox.publish("money_changed", [note.invoice.customer_id], at)
    audit.record(
        by=note.issued_by, at=at, action="issue_credit_note", subject=note, reason=note.reason,
        memo=note.memo, number=note.number, invoice=note.invoice.number,
        total_minor=note.total_minor, evened_minor=sum(part.minor for part in evened.values()),
        refund_minor=note.refund_minor, balance_minor=note.balance_minor,
        out_of_band_minor=note.out_of_band_minor, restored_credits=plain(note.restored_credits),
    )  # fmt: skip
    announce_note(note, at)


def _write_lines(
    note: CreditNote, lines: Asked, restored: Restored, evened: dict[int, Evened]
) -> None:
    nothing = Evened(0, Decimal(0))
    left = {line.position: line for line in lines_left(note.invoice)}
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(
            credit_note=note,
            invoice_line=line,
            amount_minor=amount_minor,
            tax_minor=left[line.position].tax_of(amount_minor),
            evened_minor=evened.get(line.pk, nothing).minor,
            evened_credits=evened.get(line.pk, nothing).credits,
        )
        for line, amount_minor in lines
    )
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(credit_note=note, invoice_line=line, amount_minor=0, restored_credits=amount)
        for line, amount in restored
    )
