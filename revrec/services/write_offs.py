"""Account for claims that were given up, and for what came after all.

The journal itself tells what is still given up of each line: its write-off less the recoveries.
"""

from collections.abc import Sequence

from django.db.models import Sum

from invoicing.models import CreditNote, InvoiceLine, Payment, WriteOff
from invoicing.selectors.settlement import given_up_of
from revrec.impairment import Loss, Unpaid, losses, recovery
from revrec.losing import LostPart, recovered, written_off
from revrec.models import BadDebt, ObligationKind, PerformanceObligation, Posting
from revrec.posting import About, Account, EntryKind
from revrec.selectors.obligations import earned_days, newest_schedule
from revrec.selectors.recognition import bad_debt_at
from revrec.selectors.stakes import Stake, stake_of
from revrec.services.drafts import Run
from revrec.services.journal import EntryDraft, post_entries
from revrec.services.notes import obligation_of
from revrec.services.schedules import LIABILITIES, RATABLE, revise_schedule
from revrec.sources import Source, SourceType

_KINDS = (EntryKind.WRITTEN_OFF.value, EntryKind.RECOVERED.value)


def account_write_off(run: Run, row: WriteOff) -> int:
    """Post one write-off (rule 20): what was delivered is lost; 2100 or 2120 for the rest.

    It is an expense (6200) or a concession (4900), by the policy of when it was given up.
    """
    lines = _claimed(row)
    promises, unpaid = [], []
    for line in lines:
        promise = obligation_of(line)
        stake = stake_of(promise)
        unpaid.append(_unpaid(line, promise, stake))
        promises.append(stake.owed_by if stake else promise)
    is_concession = bad_debt_at(row.written_off_at) == BadDebt.CONCESSION
    found, parts = losses(row.amount_minor, unpaid, is_concession=is_concession), []
    for line, promise, loss in zip(lines, promises, found, strict=True):
        _release(run, promise, loss.released_minor)
        parts.append(_part(line, promise, loss, _held_on(promise)))
    draft = EntryDraft(
        wanted_on=run.day_of(row.written_off_at),
        kind=EntryKind.WRITTEN_OFF,
        description=f"Write-off of invoice {row.invoice.number}",
        customer_id=run.customer_id,
        lines=written_off(parts, row.amount_minor, About(row.currency)),
        source_key=f"write_off:{row.pk}:written_off",
        sources=(Source(SourceType.WRITE_OFF, row.pk),),
    )
    return len(post_entries(drafts=[draft], by=run.by, at=run.at))


def account_recovery(run: Run, payment: Payment) -> int:
    """Post what came for a claim that was written off (rule 21)."""
    lines = list(InvoiceLine.objects.filter(invoice=payment.invoice_id).order_by("position"))
    given_up = [_given_up(line) for line in lines]
    parts = _restored(run, lines, recovery(payment.amount_minor, given_up))
    draft = EntryDraft(
        wanted_on=run.day_of(payment.paid_at),
        kind=EntryKind.RECOVERED,
        description=f"Recovery of invoice {payment.invoice.number}",
        customer_id=run.customer_id,
        lines=recovered(parts, payment.amount_minor, About(payment.currency)),
        source_key=f"payment:{payment.pk}:recorded",
        sources=(Source(SourceType.PAYMENT, payment.pk),),
    )
    return len(post_entries(drafts=[draft], by=run.by, at=run.at))


def account_reclaim(run: Run, note: CreditNote) -> int:
    """Claim again what was given up, as far as a note takes it off: it was never owed.

    The note itself then takes revenue and promise back. Its own lines come first.
    """
    minor = given_up_of(note)
    if not minor:
        return 0
    credited = set(note.lines.values_list("invoice_line_id", flat=True))
    lines = list(InvoiceLine.objects.filter(invoice=note.invoice_id).order_by("position"))
    parts, left = [], minor
    for some in (
        [line for line in lines if line.pk in credited],
        [line for line in lines if line.pk not in credited],
    ):
        given_up = [_given_up(line) for line in some]
        take = min(left, sum(one.lost_minor + one.released_minor for one in given_up))
        parts += _restored(run, some, recovery(take, given_up))
        left -= take
    about = About(note.currency)
    draft = EntryDraft(
        wanted_on=run.day_of(note.issued_at),
        kind=EntryKind.RECOVERED,
        description=f"Credit note {note.number} on what was written off",
        customer_id=run.customer_id,
        lines=recovered(parts, minor, about, into=Account.RECEIVABLE),
        source_key=f"credit_note:{note.pk}:reclaimed",
        sources=(Source(SourceType.CREDIT_NOTE, note.pk, "reclaimed"),),
    )
    return len(post_entries(drafts=[draft], by=run.by, at=run.at))


def _restored(run: Run, lines: Sequence[InvoiceLine], losses: Sequence[Loss]) -> list[LostPart]:
    """Undo losses of lines, and owe again what had ended of their promises."""
    parts = []
    for line, part in zip(lines, losses, strict=True):
        if part.lost_minor or part.released_minor:
            promise = _given_up_by(line)
            parts.append(_part(line, promise, part, _restore(run, promise, part.released_minor)))
    return parts


def _claimed(row: WriteOff) -> Sequence[InvoiceLine]:
    """Return the lines that claimed something when it was given up, credited as they were then."""
    lines = {line.pk: line for line in row.invoice.lines.order_by("position")}
    notes = row.invoice.credit_notes.filter(void=None, issued_at__gte=row.written_off_at)
    for note in notes.prefetch_related("lines"):
        if note.issued_at > row.written_off_at or given_up_of(note):
            for taken in note.lines.all():
                lines[taken.invoice_line_id].credited_minor -= taken.amount_minor
                lines[taken.invoice_line_id].tax_credited_minor -= taken.tax_minor
    return [line for line in lines.values() if line.amount_minor > line.credited_minor]


def _unpaid(line: InvoiceLine, promise: PerformanceObligation, stake: Stake | None) -> Unpaid:
    tax, net = line.tax_minor - line.tax_credited_minor, line.amount_minor - line.credited_minor
    if stake is not None:
        return Unpaid(net + tax, net, max(net - stake.left_minor, 0), tax)
    return Unpaid(net + tax, promise.price_minor, promise.recognised_minor, tax)


def _part(
    line: InvoiceLine, promise: PerformanceObligation, loss: Loss, account: Account | None
) -> LostPart:
    dimensions = About(promise.currency, promise.pk, line.pk)
    return LostPart(
        account, loss.impaired_minor, loss.released_minor, dimensions, loss.conceded_minor
    )


def _held_on(promise: PerformanceObligation) -> Account | None:
    return LIABILITIES.get(ObligationKind(promise.kind))


def _release(run: Run, promise: PerformanceObligation, minor: int) -> None:
    """End the undelivered part of a promise; several lines may have one."""
    if not minor:
        return
    promise.refresh_from_db(fields=["price_minor", "recognised_minor"])
    promise.price_minor -= minor
    promise.save(update_fields=["price_minor"])
    if promise.kind in RATABLE:
        revise_schedule(run, promise)


def _restore(run: Run, promise: PerformanceObligation, minor: int) -> Account | None:
    """Owe a promise again; a fee whose days have all passed is earned with its payment."""
    if not minor:
        return None
    promise.price_minor += minor
    if promise.kind not in RATABLE:
        promise.save(update_fields=["price_minor"])
        return _held_on(promise)
    plan = newest_schedule(promise)
    is_over = earned_days(promise) >= (plan.end_on - plan.start_on).days
    if is_over:
        promise.recognised_minor += minor
    promise.save(update_fields=["price_minor", "recognised_minor"])
    revise_schedule(run, promise)
    return Account.FEE_REVENUE if is_over else Account.FEES_LIABILITY


def _given_up_by(line: InvoiceLine) -> PerformanceObligation:
    """Return the promise that the write-off of a line ended: its own, or one that took it over."""
    posted = Posting.objects.filter(
        invoice_line=line, entry__kind=EntryKind.WRITTEN_OFF.value, obligation__isnull=False
    )
    pk = posted.order_by("-entry_id").values_list("obligation_id", flat=True).first()
    return obligation_of(line) if pk is None else PerformanceObligation.objects.get(pk=pk)


def _given_up(line: InvoiceLine) -> Loss:
    """Sum what write-off and recoveries posted for a line so far, each on its account."""
    rows = Posting.objects.filter(invoice_line=line, entry__kind__in=_KINDS)
    sums = {row["account_id"]: row["sum"] for row in
            rows.order_by().values("account_id").annotate(sum=Sum("amount_minor"))}  # fmt: skip
    impaired = sums.pop(Account.IMPAIRMENT.value, 0)
    conceded = sums.pop(Account.CREDIT_NOTES.value, 0)
    return Loss(impaired, sum(sums.values()), conceded)
