"""Account for credit notes and voids: revenue caught up, promises shortened, the claim reduced.

What a note on overage evens out was never earned: it comes off the unbilled receivable. That part
was decided when the note was issued; only what it conceded touches revenue.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from decimal import Decimal

from django.db.models import QuerySet, Sum

from billing_project.kernel.period import DAY
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
    Promise,
    Reason,
    restore,
    split_credit,
    split_refund,
)
from revrec.models import (
    ObligationKind,
    PerformanceObligation,
    Posting,
    RevenueSchedule,
    RevenueScheduleLine,
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
from revrec.schedule import day_of, service_days, straight_line
from revrec.selectors.obligations import (
    earned_days,
    newest_schedule,
    revenue_of_end,
    used_so_far,
)
from revrec.services.drafts import Run
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.services.outcomes import outcome_key_of
from revrec.services.overage import concede
from revrec.sources import Source, SourceType

LIABILITIES = {
    ObligationKind.FEE: Account.FEES_LIABILITY,
    ObligationKind.ARREARS: Account.UNBILLED,
    ObligationKind.CREDITS: Account.CREDITS_LIABILITY,
    ObligationKind.COMMITMENT: Account.CREDITS_LIABILITY,
}


RATABLE = (ObligationKind.FEE, ObligationKind.ARREARS)


def account_note(run: Run, note: CreditNote) -> int:
    """Post one credit note; return the entries posted (rules 13 and 14).

    What was earned up to the note must have been accounted for before.
    """
    if not note.total_minor:  # Credits given back are movements of the ledger of credits.
        return _nothing_to_post(SourceType.CREDIT_NOTE, note.pk)
    lines = _claiming_lines(note)
    parts = [part for line in lines for part in _take_off(run, line, Reason(note.reason))]
    parts += [_tax_off(line.invoice_line, line.tax_minor) for line in lines]
    owed = note.balance_minor + note.refund_minor
    settled = Settled(note.open_minor, owed, note.out_of_band_minor)
    draft = EntryDraft(
        wanted_on=day_of(note.issued_at),
        kind=EntryKind.CREDIT_NOTE_ISSUED,
        description=f"Credit note {note.number} on invoice {note.invoice.number}",
        customer_id=run.customer_id,
        lines=credit_note_issued(parts, settled, About(note.currency)),
        source_key=f"credit_note:{note.pk}:issued",
        sources=(Source(SourceType.CREDIT_NOTE, note.pk),),
    )
    return len(post_entries(drafts=[draft], by=run.by, at=run.at))


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
        wanted_on=day_of(void.voided_at),
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
    parts = [_take_back(run, line) for line in lines]
    parts += [_tax_off(line, line.tax_minor) for line in lines]
    draft = EntryDraft(
        wanted_on=day_of(void.voided_at),
        kind=EntryKind.INVOICE_VOIDED,
        description=f"Void of invoice {invoice.number}",
        customer_id=run.customer_id,
        lines=invoice_voided(parts, invoice.total_minor, About(invoice.currency)),
        source_key=f"invoice_void:{void.pk}:voided",
        sources=(Source(SourceType.INVOICE_VOID, void.pk),),
    )
    return len(post_entries(drafts=[draft], by=run.by, at=run.at))


def _claiming_lines(note: CreditNote) -> QuerySet[CreditNoteLine]:
    lines = note.lines.filter(amount_minor__gt=0).select_related("invoice_line__invoice")
    return lines.order_by("invoice_line__position")


def _nothing_to_post(kind: SourceType, pk: int) -> int:
    note_nothing_to_post(sources=(Source(kind, pk),))
    return 0


def _tax_off(line: InvoiceLine, tax_minor: int) -> CreditedPart:
    return tax_taken_back(tax_minor, About(line.invoice.currency, None, line.pk))


def _take_back(run: Run, line: InvoiceLine) -> CreditedPart:
    """Take a whole line back; usage and outcomes behind it are unbilled again."""
    obligation = obligation_of(line)
    if obligation.kind in (ObligationKind.OVERAGE, ObligationKind.OUTCOME):
        dimensions = About(obligation.currency, obligation.pk, line.pk)
        return CreditedPart(Account.UNBILLED, 0, line.amount_minor, dimensions)
    return _lowered(run, obligation, line, line.amount_minor, Reason.BILLING_ERROR)


def _take_off(run: Run, line: CreditNoteLine, reason: Reason) -> Sequence[CreditedPart]:
    """Lower one promise by what the note takes off it."""
    obligation = obligation_of(line.invoice_line)
    if obligation.kind == ObligationKind.OVERAGE:
        return [_take_off_overage(obligation, line)]
    if obligation.grant_id is not None:
        return _refund_credits(obligation, line)
    ends_at = served_until(line.credit_note, line.invoice_line)
    return [_lowered(run, obligation, line.invoice_line, line.amount_minor, reason, ends_at)]


def _refund_credits(
    obligation: PerformanceObligation, line: CreditNoteLine
) -> Sequence[CreditedPart]:
    """Give the price of granted credits back (rule 16); none of them remain to be used."""
    deferred = obligation.price_minor - obligation.recognised_minor
    ended = revenue_of_end(obligation)
    posted = Posting.objects.filter(obligation=obligation, account=ended.value)
    broken = -(posted.aggregate(sum=Sum("amount_minor"))["sum"] or 0)
    split = split_refund(line.amount_minor, deferred, broken)
    _lower(
        obligation, CreditSplit(split.breakage_minor + split.beyond_minor, split.liability_minor)
    )
    dimensions = About(obligation.currency, obligation.pk, line.invoice_line_id)
    return credits_refunded(split, dimensions, ended)


def _put_back(run: Run, line: CreditNoteLine) -> list[CreditedPart]:
    """Raise one promise again by what the note took off it."""
    obligation, minor = obligation_of(line.invoice_line), line.amount_minor
    kind = ObligationKind(obligation.kind)
    if kind == ObligationKind.OVERAGE:
        return [_take_off_overage(obligation, line, sign=-1)]
    if kind in (ObligationKind.SHORTFALL, ObligationKind.OUTCOME):
        return [_take_off_earned(obligation, line.invoice_line, -minor)]
    split = restore(_promise(obligation, kind), minor)
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
) -> CreditedPart:
    kind = ObligationKind(obligation.kind)
    if kind in (ObligationKind.SHORTFALL, ObligationKind.OUTCOME):
        return _take_off_earned(obligation, line, minor)
    split = split_credit(_promise(obligation, kind), minor, reason)
    _lower(obligation, split)
    if kind in RATABLE:
        revise_schedule(run, obligation, ends_at)
    return CreditedPart(
        liability=LIABILITIES[kind],
        contra_minor=split.contra_minor,
        liability_minor=split.liability_minor,
        about=About(obligation.currency, obligation.pk, line.pk),
    )


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


def _promise(obligation: PerformanceObligation, kind: ObligationKind) -> Promise:
    if kind in RATABLE:
        schedule = newest_schedule(obligation)
        done = Decimal(earned_days(obligation))
        whole = Decimal((schedule.end_on - schedule.start_on).days)
    else:
        # An unpaid pack has no grant yet: nothing of it is done.
        done = used_so_far(obligation).credits
        whole = obligation.grant.amount if obligation.grant else Decimal(1)
    return Promise(obligation.price_minor, obligation.recognised_minor, done, whole)


def _lower(obligation: PerformanceObligation, split: CreditSplit) -> None:
    obligation.price_minor -= split.contra_minor + split.liability_minor
    obligation.recognised_minor -= split.contra_minor
    obligation.save(update_fields=["price_minor", "recognised_minor"])


def revise_schedule(
    run: Run, obligation: PerformanceObligation, ends_at: datetime | None = None
) -> None:
    """Plan what is left of the fee over the service days that are left of it.

    Args:
        ends_at: Where the note ended the service: no day after it earns anything.
    """
    old = newest_schedule(obligation)
    left = obligation.price_minor - obligation.recognised_minor
    next_on = old.start_on + DAY * earned_days(obligation)
    end_on = old.end_on
    if ends_at is not None:
        served = service_days(datetime.combine(old.start_on, time.min, UTC), ends_at)[1]
        end_on = min(end_on, max(served, next_on + DAY if left else next_on))
    schedule = RevenueSchedule.objects.create(
        obligation=obligation,
        revision=old.revision + 1,
        price_minor=obligation.price_minor,
        start_on=old.start_on,
        end_on=end_on,
        created_at=run.at,
    )
    RevenueScheduleLine.objects.bulk_create(
        RevenueScheduleLine(
            schedule=schedule, service_on=day.service_on, amount_minor=day.amount_minor
        )
        for day in straight_line(left, next_on, end_on)
    )
