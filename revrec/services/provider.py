"""Account for what a payment provider did besides paying: fees, overpayments, disputes."""

from django.db.models import Sum

from invoicing.models import (
    Dispute,
    DisputeOutcome,
    FeeKind,
    InvoiceLine,
    Overpayment,
    ProcessorFee,
    Verdict,
)
from invoicing.selectors.settlement import refunds_by_bank
from revrec.models import DisputeLoss, ObligationKind, PerformanceObligation
from revrec.posting import About, Account, EntryKind, Lines
from revrec.provider import (
    FRAUD,
    Delivery,
    Loss,
    dispute_lost,
    dispute_opened,
    fee_kept,
    losses,
    overpaid,
)
from revrec.selectors.facts import (
    unaccounted_disputes,
    unaccounted_fees,
    unaccounted_overpayments,
)
from revrec.selectors.recognition import dispute_loss_at
from revrec.selectors.stakes import Stake, stake_of
from revrec.services.drafts import Run
from revrec.services.journal import EntryDraft, post_entries
from revrec.services.schedules import revise_schedule
from revrec.sources import Source, SourceType

_LIABILITIES = {
    ObligationKind.FEE.value: Account.FEES_LIABILITY,
    ObligationKind.CREDITS.value: Account.CREDITS_LIABILITY,
    ObligationKind.COMMITMENT.value: Account.CREDITS_LIABILITY,
}


def account_provider(run: Run) -> int:
    """Post overpayments, fees and disputes that were opened; return the entries posted."""
    drafts = [
        *(_overpayment(run, row) for row in unaccounted_overpayments(run.customer_id)),
        *(_fee(run, row) for row in unaccounted_fees(run.customer_id)),
        *(_dispute(run, row) for row in unaccounted_disputes(run.customer_id)),
    ]
    return len(post_entries(drafts=drafts, by=run.by, at=run.at))


def account_verdict(run: Run, outcome: DisputeOutcome) -> int:
    """Post how a dispute ended; what was earned until then must have been accounted for.

    A lost one ends what is not delivered yet: its promise is not kept, and what is clawed back
    after it earns nothing. Revenue of what was delivered stays; the loss has accounts of its own.
    """
    dispute = outcome.dispute
    about = About(dispute.currency)
    if outcome.verdict == Verdict.WON:
        lines, kind = dispute_opened(-dispute.amount_minor, about), EntryKind.DISPUTE_WON
    else:
        lines, kind = _lost(run, outcome), EntryKind.DISPUTE_LOST
    draft = EntryDraft(
        wanted_on=run.day_of(outcome.decided_at),
        kind=kind,
        description=f"Dispute {dispute.reference} {outcome.verdict}",
        customer_id=run.customer_id,
        lines=lines,
        source_key=f"dispute:{dispute.pk}:{outcome.verdict}",
        sources=(Source(SourceType.DISPUTE_OUTCOME, outcome.pk),),
    )
    return len(post_entries(drafts=[draft], by=run.by, at=run.at))


def _lost(run: Run, outcome: DisputeOutcome) -> Lines:
    dispute = outcome.dispute
    lines = list(dispute.invoice.lines.filter(amount_minor__gt=0).order_by("position"))
    deliveries, promises = [], {}
    for line in lines:
        promise = _promise(line)
        stake = stake_of(promise) if promise else None
        deliveries.append(_delivery(line, promise, stake, dispute.currency))
        promises[line.pk] = stake.owed_by if stake else promise
    made = refunds_by_bank(dispute).aggregate(total=Sum("amount_minor", default=0))["total"]
    found, elsewhere = losses(dispute.amount_minor - made, deliveries)
    for loss in found:
        _release(run, loss, promises)
    return dispute_lost(found, elsewhere, _is_impairment(outcome), About(dispute.currency), made)


def _is_impairment(outcome: DisputeOutcome) -> bool:
    """Tell whether what was delivered is an expense, by the policy of when the dispute was lost."""
    treatment = dispute_loss_at(outcome.decided_at)
    if treatment == DisputeLoss.BY_REASON:
        return outcome.dispute.reason == FRAUD
    return treatment == DisputeLoss.IMPAIRMENT


def _promise(line: InvoiceLine) -> PerformanceObligation | None:
    promises = PerformanceObligation.objects.filter(kind__in=_LIABILITIES)
    return promises.filter(source_key=f"invoice_line:{line.pk}").first()


def _delivery(
    line: InvoiceLine, promise: PerformanceObligation | None, stake: Stake | None, currency: str
) -> Delivery:
    tax = line.tax_minor - line.tax_credited_minor
    left = line.amount_minor - line.credited_minor + tax
    if promise is None:
        return Delivery(left, None, 0, About(currency, invoice_line_id=line.pk), tax)
    deferred = promise.price_minor - promise.recognised_minor
    if stake is not None:
        promise, deferred = stake.owed_by, stake.left_minor
    about = About(currency, promise.pk, line.pk)
    return Delivery(left, _LIABILITIES[promise.kind], deferred, about, tax)


def _release(run: Run, loss: Loss, promises: dict[int, PerformanceObligation | None]) -> None:
    """Let the promise follow: what the dispute ended of it is not owed any more."""
    line_id = loss.of.about.invoice_line_id
    promise = promises[line_id] if line_id is not None else None
    if promise is None or not loss.released_minor:
        return
    promise.refresh_from_db(fields=["price_minor", "recognised_minor"])
    promise.price_minor -= loss.released_minor
    promise.save(update_fields=["price_minor"])
    if promise.kind == ObligationKind.FEE:
        revise_schedule(run, promise)


def _overpayment(run: Run, row: Overpayment) -> EntryDraft:
    return EntryDraft(
        wanted_on=run.day_of(row.paid_at),
        kind=EntryKind.OVERPAYMENT_RECORDED,
        description=f"Overpayment of invoice {row.invoice.number}",
        customer_id=run.customer_id,
        lines=overpaid(row.amount_minor, About(row.currency)),
        source_key=f"overpayment:{row.pk}:recorded",
        sources=(Source(SourceType.OVERPAYMENT, row.pk),),
    )


def _fee(run: Run, row: ProcessorFee) -> EntryDraft:
    return EntryDraft(
        wanted_on=run.day_of(row.charged_at),
        kind=EntryKind.PROCESSOR_FEE,
        description=f"Fee of {row.method} on {row.kind} {row.reference}",
        customer_id=run.customer_id,
        lines=fee_kept(row.amount_minor, row.kind == FeeKind.DISPUTE, About(row.currency)),
        source_key=f"processor_fee:{row.pk}:kept",
        sources=(Source(SourceType.PROCESSOR_FEE, row.pk),),
    )


def _dispute(run: Run, row: Dispute) -> EntryDraft:
    return EntryDraft(
        wanted_on=run.day_of(row.opened_at),
        kind=EntryKind.DISPUTE_OPENED,
        description=f"Dispute {row.reference} on invoice {row.invoice.number}",
        customer_id=run.customer_id,
        lines=dispute_opened(row.amount_minor, About(row.currency)),
        source_key=f"dispute:{row.pk}:opened",
        sources=(Source(SourceType.DISPUTE, row.pk),),
    )
