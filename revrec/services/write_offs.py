"""Account for claims that were given up, and for what came after all.

The journal itself tells what is still given up of each line: its write-off less the recoveries.
"""

from collections.abc import Sequence

from django.db.models import Sum

from invoicing.models import InvoiceLine, Payment, WriteOff
from revrec.impairment import Loss, Unpaid, losses, recovery
from revrec.models import ObligationKind, PerformanceObligation, Posting
from revrec.posting import About, Account, EntryKind, LostPart, recovered, written_off
from revrec.schedule import day_of
from revrec.selectors.obligations import earned_days, newest_schedule
from revrec.services.drafts import Run
from revrec.services.journal import EntryDraft, post_entries
from revrec.services.notes import LIABILITIES, RATABLE, obligation_of, revise_schedule
from revrec.sources import Source, SourceType

_KINDS = (EntryKind.WRITTEN_OFF.value, EntryKind.RECOVERED.value)


def account_write_off(run: Run, row: WriteOff) -> int:
    """Post one write-off (rule 20): Dr 6200 for what was delivered, 2100 or 2120 for the rest."""
    lines = _claimed(row.invoice_id)
    promises = [obligation_of(line) for line in lines]
    unpaid = [_unpaid(line, promise) for line, promise in zip(lines, promises, strict=True)]
    parts = []
    for line, promise, loss in zip(lines, promises, losses(row.amount_minor, unpaid), strict=True):
        _release(run, promise, loss.released_minor)
        parts.append(_part(line, promise, loss, _held_on(promise)))
    draft = EntryDraft(
        wanted_on=day_of(row.written_off_at),
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
    lines = _claimed(payment.invoice_id)
    given_up = [_given_up(line) for line in lines]
    parts = []
    for line, part in zip(lines, recovery(payment.amount_minor, given_up), strict=True):
        promise = obligation_of(line)
        parts.append(_part(line, promise, part, _restore(run, promise, part.released_minor)))
    draft = EntryDraft(
        wanted_on=day_of(payment.paid_at),
        kind=EntryKind.RECOVERED,
        description=f"Recovery of invoice {payment.invoice.number}",
        customer_id=run.customer_id,
        lines=recovered(parts, payment.amount_minor, About(payment.currency)),
        source_key=f"payment:{payment.pk}:recorded",
        sources=(Source(SourceType.PAYMENT, payment.pk),),
    )
    return len(post_entries(drafts=[draft], by=run.by, at=run.at))


def _claimed(invoice_id: int) -> Sequence[InvoiceLine]:
    lines = InvoiceLine.objects.filter(invoice=invoice_id).order_by("position")
    return [line for line in lines if line.amount_minor > line.credited_minor]


def _unpaid(line: InvoiceLine, promise: PerformanceObligation) -> Unpaid:
    tax = line.tax_minor - line.tax_credited_minor
    claimed = line.amount_minor - line.credited_minor + tax
    return Unpaid(claimed, promise.price_minor, promise.recognised_minor, tax)


def _part(
    line: InvoiceLine, promise: PerformanceObligation, loss: Loss, account: Account | None
) -> LostPart:
    dimensions = About(promise.currency, promise.pk, line.pk)
    return LostPart(account, loss.impaired_minor, loss.released_minor, dimensions)


def _held_on(promise: PerformanceObligation) -> Account | None:
    return LIABILITIES.get(ObligationKind(promise.kind))


def _release(run: Run, promise: PerformanceObligation, minor: int) -> None:
    """End the undelivered part of a promise."""
    if not minor:
        return
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


def _given_up(line: InvoiceLine) -> Loss:
    """Sum what write-off and recoveries posted for a line so far."""
    rows = Posting.objects.filter(invoice_line=line, entry__kind__in=_KINDS)
    sums = {row["account_id"]: row["sum"] for row in
            rows.order_by().values("account_id").annotate(sum=Sum("amount_minor"))}  # fmt: skip
    impaired = sums.pop(Account.IMPAIRMENT.value, 0)
    return Loss(impaired, sum(sums.values()))
