"""Account for credit notes and voids: revenue caught up, promises shortened, the claim reduced.

What a note on overage evens out was never earned: it comes off the unbilled receivable. That part
was decided when the note was issued; only what it conceded touches revenue.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from django.db.models import QuerySet, Sum

from invoicing.models import (
    CreditNote,
    CreditNoteLine,
    CreditNoteVoid,
    InvoiceLine,
    InvoiceVoid,
    LineKind,
)
from invoicing.selectors.changes import served_until
from revrec.crediting import (
    CreditSplit,
    Reason,
    restore,
    split_credit,
    split_refund,
)
from revrec.models import (
    ObligationKind,
    PerformanceObligation,
    Posting,
)
from revrec.posting import (
    About,
    Account,
    CreditedPart,
    EntryKind,
    Settled,
    credit_note_issued,
    credits_refunded,
    invoice_voided,
    tax_taken_back,
)
from revrec.selectors.modifications import heir_of
from revrec.selectors.obligations import (
    progress_of,
    revenue_of_end,
)
from revrec.services.allocations import end_contracts, is_ended_by
from revrec.services.drafts import Run
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.services.outcomes import outcome_key_of
from revrec.services.overage import concede
from revrec.services.schedules import LIABILITIES, RATABLE, revise_schedule
from revrec.sources import Source, SourceType


def account_note(run: Run, note: CreditNote) -> int:
    """Post one credit note; return the entries posted (rules 13 and 14).

    What was earned up to the note must have been accounted for before.
    """
    if not note.total_minor:  # Credits given back are movements of the ledger of credits.
        return _nothing_to_post(SourceType.CREDIT_NOTE, note.pk)
    lines = _claiming_lines(note)
    ended = [one.invoice_line for one in lines if is_ended_by(one.invoice_line, one.amount_minor)]
    posted = end_contracts(run, ended, run.day_of(note.issued_at), f"credit_note:{note.pk}")
    parts = [part for line in lines for part in _take_off(run, line, Reason(note.reason))]
    parts += [_tax_off(line.invoice_line, line.tax_minor) for line in lines]
    owed = note.balance_minor + note.refund_minor
    settled = Settled(note.open_minor, owed, note.out_of_band_minor)
    draft = EntryDraft(
        wanted_on=run.day_of(note.issued_at),
        kind=EntryKind.CREDIT_NOTE_ISSUED,
        description=f"Credit note {note.number} on invoice {note.invoice.number}",
        customer_id=run.customer_id,
        lines=credit_note_issued(parts, settled, About(note.currency)),
        source_key=f"credit_note:{note.pk}:issued",
        sources=(Source(SourceType.CREDIT_NOTE, note.pk),),
    )
    return posted + len(post_entries(drafts=[draft], by=run.by, at=run.at))


def account_note_void(run: Run, void: CreditNoteVoid) -> int:
    """Post the void of a note: promises are raised again, and what was earned since is caught up.

    Rule 13 with the sign turned; what is earned by the day follows its days, whatever the reason.
    """
    note = void.credit_note
    if not note.total_minor:
        return _nothing_to_post(SourceType.CREDIT_NOTE_VOID, void.pk)
    lines = _claiming_lines(note)
    parts = [part for line in lines for part in _put_back(run, line)]
    parts += [_tax_off(line.invoice_line, -line.tax_minor) for line in lines]
    settled = Settled(-note.open_minor, -(note.balance_minor + note.refund_minor))
    draft = EntryDraft(
        wanted_on=run.day_of(void.voided_at),
        kind=EntryKind.CREDIT_NOTE_VOIDED,
        description=f"Void of credit note {note.number}",
        customer_id=run.customer_id,
        lines=credit_note_issued(parts, settled, About(note.currency)),
        source_key=f"credit_note_void:{void.pk}:voided",
        sources=(Source(SourceType.CREDIT_NOTE_VOID, void.pk),),
    )
    return len(post_entries(drafts=[draft], by=run.by, at=run.at))


def account_void(run: Run, void: InvoiceVoid) -> int:
    """Post one void (rule 22): every line as if it had never been claimed."""
    invoice = void.invoice
    lines = invoice.lines.filter(amount_minor__gt=0).order_by("position")
    posted = end_contracts(run, list(lines), run.day_of(void.voided_at), f"invoice_void:{void.pk}")
    parts = [part for line in lines for part in _take_back(run, line)]
    parts += [_tax_off(line, line.tax_minor) for line in lines]
    draft = EntryDraft(
        wanted_on=run.day_of(void.voided_at),
        kind=EntryKind.INVOICE_VOIDED,
        description=f"Void of invoice {invoice.number}",
        customer_id=run.customer_id,
        lines=invoice_voided(parts, invoice.total_minor, About(invoice.currency)),
        source_key=f"invoice_void:{void.pk}:voided",
        sources=(Source(SourceType.INVOICE_VOID, void.pk),),
    )
    return posted + len(post_entries(drafts=[draft], by=run.by, at=run.at))


def _claiming_lines(note: CreditNote) -> QuerySet[CreditNoteLine]:
    lines = note.lines.filter(amount_minor__gt=0).select_related("invoice_line__invoice")
    return lines.order_by("invoice_line__position")


def _nothing_to_post(kind: SourceType, pk: int) -> int:
    note_nothing_to_post(sources=(Source(kind, pk),))
    return 0


def _tax_off(line: InvoiceLine, tax_minor: int) -> CreditedPart:
    return tax_taken_back(tax_minor, About(line.invoice.currency, None, line.pk))


def _take_back(run: Run, line: InvoiceLine) -> Sequence[CreditedPart]:
    """Take a whole line back; usage and outcomes behind it are unbilled again."""
    obligation = obligation_of(line)
    if obligation.kind in (ObligationKind.OVERAGE, ObligationKind.OUTCOME):
        dimensions = About(obligation.currency, obligation.pk, line.pk)
        return [CreditedPart(Account.UNBILLED, 0, line.amount_minor, dimensions)]
    return _lowered(run, obligation, line, line.amount_minor, Reason.BILLING_ERROR)


def _take_off(run: Run, line: CreditNoteLine, reason: Reason) -> Sequence[CreditedPart]:
    """Lower one promise by what the note takes off it."""
    obligation = obligation_of(line.invoice_line)
    if obligation.kind == ObligationKind.OVERAGE:
        return [_take_off_overage(obligation, line)]
    if obligation.grant_id is not None:
        return _refund_credits(obligation, line)
    ends_at = served_until(line.credit_note, line.invoice_line)
    return _lowered(run, obligation, line.invoice_line, line.amount_minor, reason, ends_at)


def _refund_credits(
    obligation: PerformanceObligation, line: CreditNoteLine
) -> Sequence[CreditedPart]:
    """Give the price of granted credits back (rule 16); none of them remain to be used.

    What their promise gave to a bonus is conceded: the bonus stays promised, and earns it.
    """
    minor = min(line.amount_minor, obligation.price_minor)
    deferred = obligation.price_minor - obligation.recognised_minor
    ended = revenue_of_end(obligation)
    posted = Posting.objects.filter(obligation=obligation, account=ended.value)
    broken = -(posted.aggregate(sum=Sum("amount_minor"))["sum"] or 0)
    split = split_refund(minor, deferred, broken)
    _lower(
        obligation, CreditSplit(split.breakage_minor + split.beyond_minor, split.liability_minor)
    )
    dimensions = About(obligation.currency, obligation.pk, line.invoice_line_id)
    of_nobody = replace(dimensions, obligation_id=None)
    given = CreditedPart(None, line.amount_minor - minor, 0, of_nobody)
    return [*credits_refunded(split, dimensions, ended), given]


def _put_back(run: Run, line: CreditNoteLine) -> list[CreditedPart]:
    """Raise promises again by what the note took off each: its own, and those that took it over."""
    obligation, minor = obligation_of(line.invoice_line), line.amount_minor
    kind = ObligationKind(obligation.kind)
    if kind == ObligationKind.OVERAGE:
        return [_take_off_overage(obligation, line, sign=-1)]
    if kind in (ObligationKind.SHORTFALL, ObligationKind.OUTCOME):
        return [_take_off_earned(obligation, line.invoice_line, -minor)]
    if kind != ObligationKind.FEE:
        return _raised(run, obligation, line, minor)
    parts = []
    for promise, taken in _taken_elsewhere(line, obligation):
        minor -= taken
        if promise is None:  # Conceded: no promise had it any more.
            about = About(obligation.currency, None, line.invoice_line_id)
            parts.append(CreditedPart(None, -taken, 0, about))
        else:
            parts += _raised(run, promise, line, taken)
    return [*parts, *_raised(run, obligation, line, minor)] if minor else parts


def _raised(
    run: Run, obligation: PerformanceObligation, line: CreditNoteLine, minor: int
) -> list[CreditedPart]:
    """Raise one promise; what was earned since the note is caught up."""
    kind = ObligationKind(obligation.kind)
    split = restore(progress_of(obligation), minor)
    _lower(obligation, split)
    if kind in RATABLE:
        revise_schedule(run, obligation)
    contra, about = _contra_of(line, obligation), About(obligation.currency, obligation.pk,
                                                        line.invoice_line_id)  # fmt: skip
    caught_up = split.contra_minor + contra  # Earned since the note: revenue, and no contra.
    return [
        CreditedPart(LIABILITIES[kind], -contra, split.liability_minor, about),
        CreditedPart(Account.FEE_REVENUE, 0, caught_up, about),
    ]


def _taken_elsewhere(
    line: CreditNoteLine, own: PerformanceObligation
) -> list[tuple[PerformanceObligation | None, int]]:
    """List what a note's entry took off a line beyond its own promise, by promise."""
    taken = (
        Posting.objects.filter(
            entry__source_key=f"credit_note:{line.credit_note_id}:issued",
            invoice_line=line.invoice_line_id,
            account__in=[Account.CREDIT_NOTES.value, Account.FEES_LIABILITY.value],
        )
        .exclude(obligation=own)
        .values_list("obligation_id")
        .annotate(sum=Sum("amount_minor"))
        .order_by("obligation_id")
    )
    promises = PerformanceObligation.objects.in_bulk([pk for pk, _ in taken if pk])
    return [(promises[pk] if pk else None, minor) for pk, minor in taken if minor]


def _contra_of(line: CreditNoteLine, obligation: PerformanceObligation) -> int:
    """Return what a note's entry took from the revenue of a promise."""
    taken = Posting.objects.filter(
        entry__source_key=f"credit_note:{line.credit_note_id}:issued",
        account=Account.CREDIT_NOTES.value,
        obligation=obligation,
    )
    return taken.aggregate(sum=Sum("amount_minor"))["sum"] or 0


def _lowered(
    run: Run,
    obligation: PerformanceObligation,
    line: InvoiceLine,
    minor: int,
    reason: Reason,
    ends_at: datetime | None = None,
) -> Sequence[CreditedPart]:
    """Lower a promise; what a line claims beyond it lies in another promise of its contract.

    That is the one which took it over when the contract changed; what cannot be found there, since
    it was given up, is conceded.
    """
    kind = ObligationKind(obligation.kind)
    if kind in (ObligationKind.SHORTFALL, ObligationKind.OUTCOME):
        return [_take_off_earned(obligation, line, minor)]
    heir = heir_of(obligation) if kind == ObligationKind.FEE else None
    beyond = _beyond_of(obligation, heir, minor, reason)
    minor -= beyond
    split = split_credit(progress_of(obligation), minor, reason)
    _lower(obligation, split)
    if kind in RATABLE:
        revise_schedule(run, obligation, ends_at)
    return [
        CreditedPart(
            liability=LIABILITIES[kind],
            contra_minor=split.contra_minor,
            liability_minor=split.liability_minor,
            about=About(obligation.currency, obligation.pk, line.pk),
        ),
        *_beyond(run, obligation, heir, line, beyond, reason),
    ]


def _beyond_of(
    obligation: PerformanceObligation, heir: PerformanceObligation | None, minor: int,
    reason: Reason,
) -> int:  # fmt: skip
    """Return what of a note lies in another promise: a cancelled future, as far as it is there."""
    beyond = max(0, minor - obligation.price_minor)
    if heir is None or reason is not Reason.CANCEL_FUTURE:
        return beyond
    deferred = obligation.price_minor - obligation.recognised_minor
    return max(beyond, min(minor - deferred, heir.price_minor - heir.recognised_minor))


def _beyond(
    run: Run, obligation: PerformanceObligation, heir: PerformanceObligation | None,
    line: InvoiceLine, minor: int, reason: Reason,
) -> Sequence[CreditedPart]:  # fmt: skip
    if minor and heir is not None and heir.price_minor:
        return _lowered(run, heir, line, minor, reason)
    return [CreditedPart(None, minor, 0, About(obligation.currency, None, line.pk))]


def _take_off_overage(
    obligation: PerformanceObligation, line: CreditNoteLine, sign: int = 1
) -> CreditedPart:
    assert obligation.billing_period is not None
    conceded_minor = sign * (line.amount_minor - line.evened_minor)
    contra = concede(obligation.billing_period, conceded_minor)
    _lower(obligation, CreditSplit(contra, 0))
    return CreditedPart(
        liability=Account.UNBILLED,
        contra_minor=contra,
        liability_minor=sign * line.amount_minor - contra,
        about=About(obligation.currency, obligation.pk, line.invoice_line_id),
    )


def _take_off_earned(
    obligation: PerformanceObligation, line: InvoiceLine, minor: int
) -> CreditedPart:
    """Take revenue back where all of it was earned when it was claimed."""
    _lower(obligation, CreditSplit(minor, 0))
    return CreditedPart(
        liability=None,
        contra_minor=minor,
        liability_minor=0,
        about=About(obligation.currency, obligation.pk, line.pk),
    )


def obligation_of(line: InvoiceLine) -> PerformanceObligation:
    """Return the promise that an issued line belongs to."""
    key = f"invoice_line:{line.pk}"
    if line.kind == LineKind.OVERAGE:
        key = f"billing_period:{line.billing_period_id}:overage"
    if line.kind == LineKind.OUTCOME:
        key = outcome_key_of(line)
    return PerformanceObligation.objects.get(source_key=key)


def _lower(obligation: PerformanceObligation, split: CreditSplit) -> None:
    obligation.price_minor -= split.contra_minor + split.liability_minor
    obligation.recognised_minor -= split.contra_minor
    obligation.save(update_fields=["price_minor", "recognised_minor"])
