"""Account for what was claimed and what was paid: issued invoice lines and payments."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from billing_project.kernel.period import DAY
from invoicing.models import Invoice, InvoiceLine, LineKind, Payment
from revrec.conditional import became_due, conditional_earned
from revrec.models import Granularity, ObligationKind, PerformanceObligation
from revrec.posting import (
    About,
    Account,
    EntryKind,
    Lines,
    arrears_fee_invoiced,
    fee_invoiced,
    joined,
    outcome_invoiced,
    overage_invoiced,
    pack_invoiced,
    payment_received,
    tax_charged,
)
from revrec.schedule import months_alike, straight_line
from revrec.selectors.facts import unaccounted_lines, unaccounted_payments
from revrec.selectors.recognition import granularity_at
from revrec.services.drafts import Run, about, over
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.services.outcomes import outcome_key_of
from revrec.services.overage import overage_obligation
from revrec.services.schedules import plan_days
from revrec.sources import Source, SourceType


def account_invoices(run: Run) -> int:
    """Post each issued invoice with the promises that it makes; return the entries posted.

    The overage behind the lines must have been accrued before.
    """
    posted = 0
    lines = unaccounted_lines(run.customer_id)
    for invoice, of_invoice in groupby(lines, key=lambda line: line.invoice):
        posted += _account_invoice(run, invoice, list(of_invoice))
    return posted


def account_payments(run: Run) -> int:
    """Post Dr 1000 Cr 1100 for each payment; return the entries posted.

    What recovers a claim that was given up is a correction.
    """
    payments = unaccounted_payments(run.customer_id).filter(is_recovery=False)
    drafts = [_payment_draft(run, payment) for payment in payments]
    return len(post_entries(drafts=drafts, by=run.by, at=run.at))


def _account_invoice(run: Run, invoice: Invoice, lines: Sequence[InvoiceLine]) -> int:
    claims = {line.pk: _claim(run, line) for line in lines}
    note_nothing_to_post(sources=_sources(line for line in lines if not claims[line.pk]))
    if not any(claims.values()):
        return 0
    assert invoice.finalized_at is not None
    draft = EntryDraft(
        wanted_on=run.day_of(invoice.finalized_at),
        kind=EntryKind.INVOICE_FINALIZED,
        description=f"Invoice {invoice.number}",
        customer_id=run.customer_id,
        lines=joined(claims.values()),
        source_key=f"invoice:{invoice.pk}:finalized",
        sources=_sources(line for line in lines if claims[line.pk]),
    )
    return len(post_entries(drafts=[draft], by=run.by, at=run.at))


def _claim(run: Run, line: InvoiceLine) -> Lines:
    """Post a line by the rule of its kind, and the tax on it."""
    claimed = _RULES[LineKind(line.kind)](run, line)
    tax = tax_charged(line.tax_minor, About(line.invoice.currency, None, line.pk))
    return joined([claimed, tax])


def _fee(run: Run, line: InvoiceLine) -> Lines:
    if not line.amount_minor:
        return ()
    assert line.invoice.finalized_at is not None, "an issued line"
    is_over = line.service_end_at <= line.invoice.finalized_at
    kind = ObligationKind.ARREARS if is_over else ObligationKind.FEE
    obligation = _obligation(line, kind)
    start_on, end_on = run.service_days(line.service_start_at, line.service_end_at)
    pattern = granularity_at(line.invoice.finalized_at)
    spread = months_alike if pattern == Granularity.MONTH else straight_line
    days = spread(line.amount_minor, start_on, end_on)
    plan_days(run, obligation, start_on, end_on, days, pattern.value)
    invoiced = arrears_fee_invoiced if kind == ObligationKind.ARREARS else fee_invoiced
    return invoiced(line.amount_minor, over(about(obligation), start_on, end_on))


def _pack(run: Run, line: InvoiceLine) -> Lines:
    if not line.amount_minor:
        return ()
    return pack_invoiced(line.amount_minor, about(_obligation(line, ObligationKind.CREDITS)))


def _commitment(run: Run, line: InvoiceLine) -> Lines:
    if not line.amount_minor:
        return ()
    return pack_invoiced(line.amount_minor, about(_obligation(line, ObligationKind.COMMITMENT)))


def _overage(run: Run, line: InvoiceLine) -> Lines:
    """Turn what was accrued for the usage into a claim."""
    assert line.billing_period is not None
    obligation = overage_obligation(line.billing_period, line.invoice.currency)
    dimensions = About(obligation.currency, obligation.pk, line.pk)
    span = run.service_days(line.service_start_at, line.service_end_at)
    return overage_invoiced(line.amount_minor, over(dimensions, *span))


def _outcomes(run: Run, line: InvoiceLine) -> Lines:
    """Turn what accepted outcomes earned into a claim."""
    obligation = PerformanceObligation.objects.get(source_key=outcome_key_of(line))
    dimensions = About(obligation.currency, obligation.pk, line.pk)
    span = run.service_days(line.service_start_at, line.service_end_at)
    return outcome_invoiced(line.amount_minor, over(dimensions, *span))


def _shortfall(run: Run, line: InvoiceLine) -> Lines:
    """Earn what a term lacked on its last day, and turn it into a claim (rule 27)."""
    if not line.amount_minor:
        return ()
    obligation = _obligation(line, ObligationKind.SHORTFALL, recognised_minor=line.amount_minor)
    start_on, end_on = run.service_days(line.service_start_at, line.service_end_at)
    dimensions = over(about(obligation), start_on, end_on)
    draft = EntryDraft(
        wanted_on=end_on - DAY,
        kind=EntryKind.SHORTFALL_EARNED,
        description=f"Commit shortfall on invoice {line.invoice.number}",
        customer_id=run.customer_id,
        lines=conditional_earned(line.amount_minor, Account.SHORTFALL_REVENUE, dimensions),
        source_key=f"invoice_line:{line.pk}:shortfall",
        sources=(Source(SourceType.INVOICE_LINE, line.pk, "accrued"),),
    )
    post_entries(drafts=[draft], by=run.by, at=run.at)
    minor = line.amount_minor
    return became_due(minor, minor, Account.SHORTFALL_REVENUE, dimensions)


def _statement(run: Run, line: InvoiceLine) -> Lines:
    """A line that only states what was used claims nothing."""
    return ()


_RULES: dict[LineKind, Callable[[Run, InvoiceLine], Lines]] = {
    LineKind.RECURRING: _fee,
    LineKind.SEAT: _fee,
    LineKind.ONE_OFF: _fee,
    LineKind.CREDIT_PACK: _pack,
    LineKind.OVERAGE: _overage,
    LineKind.CREDITS_USED: _statement,
    LineKind.OUTCOME: _outcomes,
    LineKind.COMMIT_SHORTFALL: _shortfall,
    LineKind.COMMITMENT: _commitment,
}


def _obligation(
    line: InvoiceLine, kind: ObligationKind, recognised_minor: int = 0
) -> PerformanceObligation:
    return PerformanceObligation.objects.create(
        customer_id=line.invoice.customer_id,
        kind=kind,
        invoice_line=line,
        billing_period=line.billing_period,
        currency=line.invoice.currency,
        price_minor=line.amount_minor,
        recognised_minor=recognised_minor,
        source_key=f"invoice_line:{line.pk}",
    )


def _payment_draft(run: Run, payment: Payment) -> EntryDraft:
    return EntryDraft(
        wanted_on=run.day_of(payment.paid_at),
        kind=EntryKind.PAYMENT_RECORDED,
        description=f"Payment of invoice {payment.invoice.number}",
        customer_id=run.customer_id,
        lines=payment_received(payment.amount_minor, About(payment.currency)),
        source_key=f"payment:{payment.pk}:recorded",
        sources=(Source(SourceType.PAYMENT, payment.pk),),
    )


def _sources(lines: Iterable[InvoiceLine]) -> tuple[Source, ...]:
    return tuple(Source(SourceType.INVOICE_LINE, line.pk) for line in lines)
