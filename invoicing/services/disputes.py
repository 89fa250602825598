"""Record disputes: the bank takes money back, and what was sold for it rests until it decides."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import Q

from billing_project.kernel import audit, outbox
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import IdempotencyConflict, Invalid
from billing_project.kernel.models import User
from credits.models import CreditGrant, GrantCategory
from credits.services.freezing import freeze_grant, thaw_grant
from invoicing.models import (
    PREPAID,
    Dispute,
    DisputeOutcome,
    Invoice,
    InvoiceLine,
    LineKind,
    Verdict,
)
from invoicing.selectors import grants_of_line
from invoicing.services.commits import give_back_shortfall
from invoicing.services.granting import take_disputed
from invoicing.services.locks import lock_invoice, require_permission
from invoicing.services.refunds import refund_by_bank
from metering.services.customers import lock_customer


@transaction.atomic
def record_dispute(
    *,
    invoice: Invoice,
    amount_minor: int,
    reason: str,
    method: str,
    reference: str,
    opened_at: datetime,
    by: User,
    at: datetime,
) -> Dispute:
    """Record that the bank took a payment back for now (rule 17).

    The money is parked, the invoice stays paid, and credits that it sold are frozen: opening a
    dispute changes neither what was delivered nor what is owed. The method and reference name it:
    the same again returns the same row.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: nothing is disputed.
        IdempotencyConflict: it was recorded with another amount, or on another invoice.
    """
    require_permission(by, "invoicing.record_payment", "record disputes")
    if amount_minor <= 0:
        raise Invalid("a dispute is about more than nothing", field="amount")
    locked = lock_invoice(invoice)
    before = Dispute.objects.filter(method=method, reference=reference).first()
    if before is not None:
        if (before.invoice_id, before.amount_minor) != (locked.pk, amount_minor):
            raise IdempotencyConflict(f"{reference} was recorded otherwise before")
        return before
    dispute = Dispute.objects.create(
        customer_id=locked.customer_id, invoice=locked, amount_minor=amount_minor,
        currency=locked.currency, reason=reason, opened_at=opened_at, method=method,
        reference=reference, recorded_by=by, recorded_at=at,
    )  # fmt: skip
    for grant in _sold_by(locked):
        freeze_grant(grant=grant, reference=reference, by=by, at=at)
    outbox.publish("money_changed", [locked.customer_id], at)
    audit.record(
        by=by, at=at, action="record_dispute", subject=dispute, reason=reason,
        invoice=locked.number, amount_minor=amount_minor, currency=locked.currency,
    )  # fmt: skip
    return dispute


def freeze_disputed(*, by: User, at: datetime) -> int:
    """Freeze what open disputes are about and is free: it was granted, or came back, since.

    A purchase that was used up when its dispute began has nothing to freeze then. Call it after
    usage was rated.

    Returns:
        Grants frozen now.
    """
    free = _free_while_disputed()
    return each_apart(free, partial(_freeze_all, by=by, at=at), step="freeze_disputed")


@transaction.atomic
def _freeze_all(dispute: Dispute, by: User, at: datetime) -> int:
    lock_customer(dispute.customer_id)
    if DisputeOutcome.objects.filter(dispute=dispute).exists():
        return 0  # It ended meanwhile.
    found = [
        freeze_grant(grant=grant, reference=dispute.reference, by=by, at=at)
        for grant in _sold_by(dispute.invoice)
    ]
    return sum(map(len, found))


def _free_while_disputed() -> list[Dispute]:
    """List open disputes of invoices that sold what may be used now."""
    going_on = Dispute.objects.filter(outcome=None)
    lines = InvoiceLine.objects.filter(kind__in=PREPAID, invoice__in=going_on.values("invoice"))
    invoices = dict(lines.values_list("pk", "invoice"))
    keys = {f"invoice_line:{pk}:pack": invoice for pk, invoice in invoices.items()}
    sold = dict(CreditGrant.objects.filter(source_key__in=keys).values_list("pk", "source_key"))
    if not sold:
        return []
    grants = CreditGrant.objects.filter(Q(pk__in=sold) | Q(root__in=sold), remaining__gt=0)
    free = {keys[sold[root or pk]] for pk, root in grants.values_list("pk", "root")}
    return list(going_on.filter(invoice__in=free).select_related("invoice"))


@transaction.atomic
def record_dispute_outcome(
    *, dispute: Dispute, verdict: str, decided_at: datetime, by: User, at: datetime
) -> DisputeOutcome:
    """Record how a dispute ended, once (rules 18 and 19).

    Won: the money is back, frozen credits are free again, and what usage made up for of a shortfall
    goes back. Lost: what is unused of the credits
    that the invoice sold is clawed back, once for all reasons, and refunds that notes promise and
    the bank gave back are made.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: an unknown verdict, or one before the dispute.
        IdempotencyConflict: it ended otherwise before.
    """
    require_permission(by, "invoicing.record_payment", "record disputes")
    if verdict not in Verdict.values:
        raise Invalid(f"a verdict is one of {', '.join(Verdict.values)}", field="verdict")
    if decided_at < dispute.opened_at:
        raise Invalid("a dispute is decided after it was opened", field="decided_at")
    lock_customer(dispute.customer_id)
    before = DisputeOutcome.objects.filter(dispute=dispute).first()
    if before is not None:
        if before.verdict != verdict:
            raise IdempotencyConflict(f"{dispute} was {before.verdict} before")
        return before
    outcome = DisputeOutcome.objects.create(
        dispute=dispute, verdict=verdict, decided_at=decided_at, recorded_by=by, recorded_at=at
    )
    _let_go(dispute, verdict, by, at)
    if verdict == Verdict.WON:
        _give_back_shortfalls(dispute.invoice, at)
    else:
        refund_by_bank(dispute=dispute, decided_at=decided_at, by=by, at=at)
    outbox.publish("money_changed", [dispute.customer_id], at)
    audit.record(
        by=by, at=at, action="record_dispute_outcome", subject=outcome, reason=verdict,
        amount_minor=dispute.amount_minor, currency=dispute.currency,
    )  # fmt: skip
    return outcome


def _let_go(dispute: Dispute, verdict: str, by: User, at: datetime) -> None:
    """Free what is frozen, unless another dispute of the same invoice goes on; lost, take it."""
    others = Dispute.objects.filter(invoice=dispute.invoice).exclude(pk=dispute.pk)
    if verdict != Verdict.LOST and others.filter(outcome=None).exists():
        return
    for grant in _sold_by(dispute.invoice):
        thaw_grant(grant=grant, reference=dispute.reference, by=by, at=at)
        if verdict == Verdict.LOST:
            take_disputed(grant, dispute, by, at)


def _give_back_shortfalls(invoice: Invoice, at: datetime) -> None:
    """Give back what notes could not while the payment was disputed; the verdict stands anyway."""
    lines = invoice.lines.filter(kind=LineKind.COMMIT_SHORTFALL, billing_period__isnull=False)
    each_apart(lines.order_by("pk"), partial(_give_back, at=at), step="give_back_shortfall")


@transaction.atomic
def _give_back(line: InvoiceLine, at: datetime) -> int:
    assert line.billing_period is not None, "filtered by it"
    return len(give_back_shortfall(line.billing_period, at))


def _sold_by(invoice: Invoice) -> Iterator[CreditGrant]:
    """Yield the purchases of an invoice's packs that were granted, by id."""
    for line in invoice.lines.filter(kind__in=PREPAID).order_by("pk"):
        yield from grants_of_line(line).filter(category=GrantCategory.PAID, origin=None)
