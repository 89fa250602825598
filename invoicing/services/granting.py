"""Grant the credits that packs and commitments sold, once their invoice is paid."""

from datetime import datetime

from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from credits.models import ClawBackReason, CreditGrant, GrantCategory, PricingUnit
from credits.services.clawing import claw_back
from credits.services.freezing import freeze_grant
from credits.services.grants import issue_grant
from invoicing.models import (
    PREPAID,
    Dispute,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    LineKind,
    Verdict,
)
from invoicing.selectors import grants_of_line, pack_steps


def issue_pack_grants(*, invoice: Invoice, effective_at: datetime, by: User, at: datetime) -> int:
    """Grant what a paid invoice's packs and commitments sold; call in what settles it.

    The grant's price is what the line claims in the end, less what notes took off it. A favour
    (goodwill, price concession) leaves all credits; any other note gives them up in proportion. A
    pack credited in full was not paid for and is not granted. A customer who was closed since
    the sale still gets what is paid. Credits of a commitment end with its term, and begin with it
    where it was paid before; one that is paid only after its term is over serves late usage of it.
    Where a bank took a part of the price back before, its dispute decides as if it came after.

    Returns:
        Grants issued.
    """
    if invoice.status != InvoiceStatus.PAID:
        return 0
    sold = invoice.lines.filter(kind__in=PREPAID)
    waiting = [line for line in sold if not grants_of_line(line).exists()]
    packs = [(line, left) for line in waiting if (left := pack_steps(line)[-1]).price_minor]
    for line, left in packs:
        begins_at, ends_at = _life(line, effective_at)
        grant = issue_grant(
            customer=invoice.customer,
            category=GrantCategory.PAID,
            amount=left.credits,
            pricing_unit=PricingUnit.objects.get(code=line.unit),
            reason_code=line.kind,
            source_key=f"invoice_line:{line.pk}:pack",
            by=by,
            at=at,
            effective_at=begins_at,
            expires_at=ends_at,
            price_minor=left.price_minor,
            currency=invoice.currency,
            is_promised=True,
        )
        _follow_disputes(grant, invoice, by, at)
    return len(packs)


def take_disputed(grant: CreditGrant, dispute: Dispute, by: User, at: datetime) -> None:
    """Claw back what is unused of a purchase whose dispute was lost, if its terms take it back."""
    try:
        claw_back(
            grant=grant, reason=ClawBackReason.DISPUTE,
            reference=f"{dispute.method}:{dispute.reference}", by=by, at=at,
        )  # fmt: skip
    except Conflict as error:
        if error.code != "not_refundable":
            raise  # Terms that take nothing back leave the credits with the customer.


def _follow_disputes(grant: CreditGrant, invoice: Invoice, by: User, at: datetime) -> None:
    """Do to a new grant what disputes of a part of its price would have done to it before."""
    disputes = Dispute.objects.filter(invoice=invoice).order_by("pk")
    for dispute in disputes.filter(outcome__verdict=Verdict.LOST):
        take_disputed(grant, dispute, by, at)
    for dispute in disputes.filter(outcome=None):
        freeze_grant(grant=grant, reference=dispute.reference, by=by, at=at)


def _life(line: InvoiceLine, paid_at: datetime) -> tuple[datetime, datetime | None]:
    """Return from when, and until when, what a line sold can be used."""
    if line.kind != LineKind.COMMITMENT:
        return paid_at, None
    if paid_at >= line.service_end_at:
        return line.service_start_at, line.service_end_at
    return max(paid_at, line.service_start_at), line.service_end_at
