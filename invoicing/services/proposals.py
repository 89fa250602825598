"""Propose credit notes for what was claimed too much, and for late usage where a rule says so.

The worker proposes, a finance approver decides, and `deciding` issues. A proposal follows the
overcharge: it is withdrawn when that vanishes and replaced when it changes, and a refused amount is
not proposed again. Each step stands under the customer's lock, so that none happens twice.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from django.db import transaction

from billing_project.kernel.apart import each_apart
from billing_project.kernel.approvals import Proposal, propose_version, withdraw
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.money import Money
from billing_project.kernel.quantity import plain
from billing_project.kernel.users import worker_user
from billing_project.kernel.versions import next_number
from credits.models import BillingPeriod
from credits.services.rating import rate_customer
from invoicing.claims import worth
from invoicing.models import (
    CreditNoteReason,
    Invoice,
    InvoiceLine,
    LineKind,
    ProposedCreditNote,
)
from invoicing.models.proposal import ProposalCause, ProposalState
from invoicing.selectors import overage_state
from invoicing.selectors.proposals import (
    content_of_proposed_note,
    credits_due,
    late_credits,
    late_facts,
    open_proposals,
    overcharge_facts,
    periods_to_credit,
    shown_back,
)
from invoicing.selectors.restoring import Restored, RestoredTo
from invoicing.services.credit_notes import preview_credit_note, undisputed
from invoicing.services.locks import require_permission
from metering.models.late import LateTreatment
from metering.selectors.late import late_treatments
from metering.services.customers import lock_customer

_NOTHING = Decimal(0)


def follow_overcharges(*, by: User, at: datetime) -> int:
    """Bring the proposals in line with what is claimed too much; return how many changed.

    Safe to run twice at once; a customer that fails is logged and left for the next run.
    """
    return each_apart(periods_to_credit(), partial(_follow, by=by, at=at), step="propose_notes")


def propose_for_late_usage(invoice: Invoice, at: datetime) -> None:
    """Propose to credit a late line where the customer's rule asks for that decision.

    Call it in the transaction that issues the invoice, under the customer's lock.
    """
    key = invoice.customer_id
    if late_treatments({key}, at)[key] != LateTreatment.CREDIT_NOTE:
        return
    line = invoice.lines.filter(kind=LineKind.OVERAGE, amount_minor__gt=0).first()
    if line is None or line.billing_period is None:
        return
    late = min(late_credits(line), line.quantity)
    amount = min(worth(late, overage_state(line.billing_period).price), line.amount_minor)
    if amount > 0:
        _propose(line, ProposalCause.LATE_USAGE, amount, late_facts(late), at)


@transaction.atomic
def request_credit_notes(
    *,
    lines: Sequence[tuple[InvoiceLine, int]],
    reason: str,
    memo: str,
    by: User,
    at: datetime,
    restored: Restored = (),
) -> list[ProposedCreditNote]:
    """Propose to take amounts off lines of one invoice, or give credits back: all or none.

    Finance decides on each line; the worker issues what is approved. Which grants get the credits
    is part of what is proposed.

    Args:
        lines: Lines of one invoice with minor units, net of tax, > 0, at most what is left.
        restored: Lines of it that state credits, with credits > 0 to give back.

    Raises:
        NotAllowed: a person without the permission to credit.
        Invalid: no line, no words, or an unknown reason.
        Conflict: a request for a line is open, or what previewing the note raises.
    """
    require_permission(by, "invoicing.issue_creditnote", "propose credit notes")
    if reason not in CreditNoteReason.values or not memo.strip():
        raise Invalid("a requested note has its reason, and says why", field="memo")
    named = [line for line, _ in (*lines, *restored)]
    if not named:
        raise Invalid("a requested note takes something off a line", field="lines")
    if len({line.pk for line in named}) < len(named):
        raise Invalid("each line is named once", field="lines")
    invoice = _locked(named[0], restored, by, at)
    seen = preview_credit_note(invoice=invoice, lines=lines, restored=restored, at=at)
    _refuse_requested(invoice, named)
    facts: dict[str, object] = {"reason": reason, "words": memo}
    money = [
        _propose(line, ProposalCause.REQUESTED, amount_minor, facts, at, by)
        for line, amount_minor in lines
    ]
    return money + [
        _propose_back(line, amount, seen.restored, facts, at, by) for line, amount in restored
    ]


def _locked(line: InvoiceLine, restored: Restored, by: User, at: datetime) -> Invoice:
    """Lock a line's customer; what waits to be corrected decides whose credits come back."""
    customer_id = line.invoice.customer_id
    lock_customer(customer_id)
    if restored:
        rate_customer(customer_id=customer_id, by=by, at=at)
    return Invoice.objects.select_related("customer").get(pk=line.invoice_id)


def _refuse_requested(invoice: Invoice, lines: Sequence[InvoiceLine]) -> None:
    waiting = open_proposals().filter(invoice_line__in=lines, cause=ProposalCause.REQUESTED)
    if found := waiting.select_related("invoice_line").first():
        position = found.invoice_line.position
        raise Conflict(f"a note on line {position} of {invoice} is requested already")


def _propose_back(
    line: InvoiceLine, amount: Decimal, seen: Iterable[RestoredTo], facts: dict[str, object],
    at: datetime, by: User,
) -> ProposedCreditNote:  # fmt: skip
    """Propose to give credits of a line back to the grants that a preview named."""
    parts = shown_back(part for part in seen if part.line.pk == line.pk)
    said = {**facts, "gives_back": parts}
    return _propose(line, ProposalCause.REQUESTED, 0, said, at, by, restored=amount)


@transaction.atomic
def _follow(billing_period: BillingPeriod, by: User, at: datetime) -> int:
    lock_customer(billing_period.customer_id)
    state = overage_state(billing_period)
    due = _kept(credits_due(state))
    rows = open_proposals().filter(
        invoice_line__billing_period=billing_period, cause=ProposalCause.OVERCHARGE
    )
    waiting = {row.invoice_line_id: row for row in rows}
    changed = 0
    for line_id, row in waiting.items():
        is_decided = row.policy_change.status != PolicyStatus.SUBMITTED
        if is_decided or due.get(line_id) == row.amount_minor:
            due.pop(line_id, None)  # It stands, or is settled first.
        else:
            _withdraw(row, "the overcharge has changed", by, at)
            changed += 1
    facts = overcharge_facts(state) if due else {}
    for line in InvoiceLine.objects.select_related("invoice__customer").filter(pk__in=due):
        if not _was_refused(line, due[line.pk]):
            _propose(line, ProposalCause.OVERCHARGE, due[line.pk], facts, at)
            changed += 1
    return changed


def _kept(due: dict[int, int]) -> dict[int, int]:
    """Shorten what is due to what no bank took back: of the rest no note could be issued."""
    lines = InvoiceLine.objects.select_related("invoice__customer").filter(pk__in=due)
    return {
        line.pk: minor
        for one in lines
        for line, minor in undisputed(one.invoice, [(one, due[one.pk])])
        if minor
    }


def _was_refused(line: InvoiceLine, amount_minor: int) -> bool:
    """Tell whether finance rejected just this amount of the line before."""
    rows = ProposedCreditNote.objects.filter(invoice_line=line, cause=ProposalCause.OVERCHARGE)
    last = rows.select_related("policy_change").order_by("-number").first()
    return (
        last is not None
        and last.policy_change.status == PolicyStatus.REJECTED
        and last.amount_minor == amount_minor
    )


def _propose(
    line: InvoiceLine, cause: ProposalCause, amount_minor: int, facts: dict[str, object],
    at: datetime, by: User | None = None, restored: Decimal = _NOTHING,
) -> ProposedCreditNote:  # fmt: skip
    invoice, before = line.invoice, ProposedCreditNote.objects.filter(invoice_line=line)
    row = ProposedCreditNote(
        invoice_line=line, number=next_number(before), cause=cause, amount_minor=amount_minor,
        restored_credits=restored, currency=invoice.currency, facts=facts, created_at=at,
    )  # fmt: skip
    what = f"{plain(restored)} credits" if restored else Money(amount_minor, invoice.currency)
    return propose_version(
        row,
        kind="credit_note",
        subject=f"credit_note:line.{line.pk}:{row.number}",
        content=content_of_proposed_note(row),
        proposal=Proposal(
            title=f"Credit {what} of {invoice.number} to {invoice.customer.name}"[:200],
            product_requirement=str(facts["words"]),
            engineering_note="Once approved, the note is issued by the worker, unless the books"
            " have changed by then.",
            reason_code=cause,
            effective_at=at,
        ),
        by=by or worker_user(),
        at=at,
    )


def _withdraw(row: ProposedCreditNote, reason: str, by: User, at: datetime) -> None:
    withdraw(change=row.policy_change, by=by, reason=reason, at=at)
    close_proposal(row, at)


def close_proposal(row: ProposedCreditNote, at: datetime) -> None:
    """End a proposal that no note comes of."""
    row.state, row.closed_at = ProposalState.CLOSED, at
    row.save(update_fields=["state", "closed_at"])
